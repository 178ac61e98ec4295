// In which number format a network computes. Plain data; any thread.
#pragma once

#include <string>
#include <vector>

#include "core/dtype.h"

namespace lockstep {

/// Weights, statistics, the optimizer and the loss are f32 always; this is the type of activations and their gradients.
enum class Precision : unsigned char {
  fp32,
  tf32,  // f32 in memory; products of it may take 10 bits of the mantissa (TensorFloat-32)
  bf16,
  fp16,  // with dynamic loss scaling: see layers/optimizers/loss_scale.h
};

/// "fp32", "tf32", "bf16" or "fp16". Throws InputError with the nearest name.
Precision precision_from_name(const std::string& name);
const std::vector<std::string>& precision_names();
std::string name_of(Precision precision);
/// The element type of activations.
DType compute_type(Precision precision);

}  // namespace lockstep
