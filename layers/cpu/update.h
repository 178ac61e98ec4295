// What the optimizers' kernels share. Any thread.
#pragma once

#include <cstring>

#include "core/step_state.h"
#include "layers/optimizers/loss_scale.h"

namespace lockstep::cpu {

/// What gradient sums are divided by: the samples, times the loss scale where `scaled`.
inline float divisor(const Args& args, bool scaled) {
  const auto samples = static_cast<float>(args.in[2].as<StepState>()->samples);
  return scaled ? samples * args.in[args.in.size() - 2].as<LossScale>()->scale : samples;
}

/// Whether this step's gradients are not all finite; then the outputs are made what the inputs are.
inline bool skipped(const Args& args, bool scaled) {
  if (!scaled || *args.in.back().as() > 0) return false;
  for (size_t i = 0; i < args.out.size(); ++i) {
    const Tensor& from = args.in[i == 0 ? 0 : i + 2];
    if (args.out[i].data != from.data) std::memcpy(args.out[i].data, from.data, from.type.bytes());
  }
  return true;
}

}  // namespace lockstep::cpu
