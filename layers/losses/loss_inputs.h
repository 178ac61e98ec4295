// What the operators of losses and metrics take alike. Pure functions: any thread.
#pragma once

#include <span>
#include <vector>

#include "core/graph/op.h"

namespace lockstep {

/// (predictions f32[N, …], targets of `target`'s type, lane_state) and, where `scaled`, loss_scale. Throws InputError
/// that says what was given.
void expect_loss_inputs(std::span<const Type> in, const Type& target, bool scaled);
/// All cut along the batch; the loss scale is whole.
std::vector<Placement> loss_inputs(bool scaled);
/// Rows of classes in one sample: 1, or the pixels of predictions [N, H, W, K].
int64_t rows_of_sample(const Shape& predictions);
/// All numbers of one sample.
int64_t numbers_of_sample(const Shape& predictions);
/// i32[N] for predictions f32[N, K], i32[N, H, W] for f32[N, H, W, K].
Type class_indices_of(const Type& predictions);

}  // namespace lockstep
