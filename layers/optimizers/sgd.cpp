#include "layers/optimizers/sgd.h"

#include "core/error.h"
#include "layers/check.h"
#include "layers/optimizers/loss_scale.h"

namespace lockstep {

SgdOp::SgdOp(float momentum, bool nesterov, float weight_decay, bool scaled)
    : momentum(momentum), nesterov(nesterov), weight_decay(weight_decay), scaled(scaled) {
  if (!(momentum >= 0 && momentum < 1)) throw InputError("sgd: got momentum {}, expected 0 <= momentum < 1", momentum);
  if (nesterov && !(momentum > 0)) throw InputError("sgd: got nesterov with momentum 0, expected a momentum above 0");
  if (!(weight_decay >= 0)) throw InputError("sgd: got weight_decay {}, expected 0 or more", weight_decay);
}

std::vector<Type> SgdOp::infer(std::span<const Type> in) const {
  expect_count(in, (momentum > 0 ? 4U : 3U) + (scaled ? 2U : 0U));
  expect_f32(in[0]);
  expect_type(in[1], in[0], "the gradient sum");
  expect_step_state(in[2]);
  if (scaled) expect_loss_scale(in.last(2));
  if (!(momentum > 0)) return {in[0]};
  expect_type(in[3], in[0], "the velocity");
  return {in[0], in[3]};
}

std::string SgdOp::attributes() const {
  return fmt::format("momentum {}{} weight_decay {}{}", momentum, nesterov ? " nesterov" : "", weight_decay,
                     scaled ? " scaled" : "");
}

}  // namespace lockstep
