#include "layers/loss.h"

#include <algorithm>
#include <cmath>

#include "core/step_state.h"
#include "layers/cpu/kernels.h"
#include "layers/cpu/math.h"

namespace lockstep::cpu {

namespace {

constexpr float smallest = 1e-7F;
constexpr float largest = 1 - 1e-7F;

/// log of the sum of exp over a row, in double.
double log_sum_exp(const float* row, int64_t classes, float top) {
  double sum = 0;
  for (int64_t k = 0; k < classes; ++k) sum += double{exponential(row[k] - top)};
  return std::log(sum) + double{top};
}

/// A NaN must come through, so the comparisons are not std::clamp's.
float clipped(float p) { return p < smallest ? smallest : p > largest ? largest : p; }

}  // namespace

Kernel make(const CrossEntropyOp& op, const Signature& signature) {
  return {.run = [classes = signature.in[0].shape[1], logits = op.from_logits](Stream&, const Args& args) {
    const int64_t valid = args.in[2].as<LaneState>()->valid;
    const auto* labels = args.in[1].as<int32_t>();
    double loss = 0;
    int64_t correct = 0;
    for (int64_t n = 0; n < valid; ++n) {
      const float* row = args.in[0].as() + n * classes;
      const float* top = std::max_element(row, row + classes);
      correct += top - row == labels[n];
      loss += logits ? log_sum_exp(row, classes, *top) - double{row[labels[n]]}
                     : -std::log(double{clipped(row[labels[n]])});
    }
    *args.out[0].as() = static_cast<float>(loss);
    *args.out[1].as() = static_cast<float>(correct);
  }};
}

Kernel make(const CrossEntropyGradOp& op, const Signature& signature) {
  const int64_t samples = signature.in[0].shape[0], classes = signature.in[0].shape[1];
  return {.run = [=, logits = op.from_logits](Stream&, const Args& args) {
    const int64_t valid = args.in[2].as<LaneState>()->valid;
    const auto* labels = args.in[1].as<int32_t>();
    for (int64_t n = 0; n < samples; ++n) {
      const float* row = args.in[0].as() + n * classes;
      float* dx = args.out[0].as() + n * classes;
      std::fill(dx, dx + classes, 0.0F);
      if (n >= valid) continue;
      if (!logits) {
        const float p = row[labels[n]];
        dx[labels[n]] = p < smallest || p > largest ? 0.0F : -1 / p;
        continue;
      }
      const float top = *std::max_element(row, row + classes);
      double sum = 0;
      for (int64_t k = 0; k < classes; ++k) {
        dx[k] = exponential(row[k] - top);
        sum += double{dx[k]};
      }
      const auto scale = static_cast<float>(1 / sum);
      for (int64_t k = 0; k < classes; ++k) dx[k] *= scale;
      dx[labels[n]] -= 1;
    }
  }};
}

}  // namespace lockstep::cpu
