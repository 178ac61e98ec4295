#include "layers/optimizers/loss_scale.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "layers/cpu/kernels.h"

namespace lockstep::cpu {

Kernel make(const FiniteOp&, const Signature&) {
  return {.run = [](Stream&, const Args& args) {
    const bool finite = std::ranges::all_of(args.in, [](const Tensor& tensor) {
      return std::ranges::all_of(std::span(tensor.as(), static_cast<size_t>(tensor.elements())),
                                 [](float x) { return std::isfinite(x); });
    });
    *args.out[0].as() = finite ? 1.0F : not_finite;
  }};
}

Kernel make(const LossScaleOp& op, const Signature&) {
  return {.run = [interval = static_cast<float>(op.growth_interval)](Stream&, const Args& args) {
    LossScale now = *args.in[0].as<LossScale>();
    if (!(*args.in[1].as() > 0)) {
      now = {std::max(now.scale / 2, 1.0F), 0};
    } else if (now.good_steps += 1; now.good_steps >= interval) {
      now = {std::isfinite(now.scale * 2) ? now.scale * 2 : now.scale, 0};
    }
    *args.out[0].as<LossScale>() = now;
  }};
}

}  // namespace lockstep::cpu
