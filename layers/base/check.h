// What most operators' `infer` and `rules` share. Pure functions: any thread.
#pragma once

#include <span>
#include <vector>

#include "core/graph/op.h"

namespace lockstep {

/// Each throws InputError that says what was expected and what was given.
void expect_count(std::span<const Type> in, size_t count);
/// The input of a layer that takes one.
Value only_input(std::span<const Value> in);
/// f32, f16 or bf16.
void expect_float(const Type& type);
void expect_f32(const Type& type);
/// [N, H, W, C] of any floating-point type.
void expect_image(const Type& type);
/// The other input must be of exactly this type; `what` names it: "dy", "the second input".
void expect_type(const Type& given, const Type& expected, const char* what);
void expect_step_state(const Type& type);
/// u8[lanes, 16], for a batch that the lanes divide. Returns the lanes.
int64_t expect_lane_state(const Type& type, const Type& batch);

/// All `inputs` inputs and the output sharded alike, along any of the first four dimensions: what elementwise
/// operators can do.
std::vector<Rule> elementwise_rules(size_t inputs);
/// Inputs and outputs all sharded along the batch.
Rule batch_rule(size_t inputs, size_t outputs = 1);

}  // namespace lockstep
