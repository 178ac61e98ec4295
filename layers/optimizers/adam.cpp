#include "layers/optimizers/adam.h"

#include "core/error.h"
#include "layers/check.h"
#include "layers/optimizers/loss_scale.h"

namespace lockstep {

AdamOp::AdamOp(float beta_1, float beta_2, float epsilon, float weight_decay, bool scaled)
    : beta_1(beta_1), beta_2(beta_2), epsilon(epsilon), weight_decay(weight_decay), scaled(scaled) {
  if (!(beta_1 >= 0 && beta_1 < 1)) throw InputError("adam: got beta_1 {}, expected 0 <= beta_1 < 1", beta_1);
  if (!(beta_2 >= 0 && beta_2 < 1)) throw InputError("adam: got beta_2 {}, expected 0 <= beta_2 < 1", beta_2);
  if (!(epsilon > 0)) throw InputError("adam: got epsilon {}, expected a number above 0", epsilon);
  if (!(weight_decay >= 0)) throw InputError("adam: got weight_decay {}, expected 0 or more", weight_decay);
}

std::vector<Type> AdamOp::infer(std::span<const Type> in) const {
  expect_count(in, scaled ? 7 : 5);
  expect_f32(in[0]);
  expect_type(in[1], in[0], "the gradient sum");
  expect_step_state(in[2]);
  expect_type(in[3], in[0], "the first moment");
  expect_type(in[4], in[0], "the second moment");
  if (scaled) expect_loss_scale(in.last(2));
  return {in[0], in[3], in[4]};
}

std::string AdamOp::attributes() const {
  return fmt::format("beta {} {} epsilon {} weight_decay {}{}", beta_1, beta_2, epsilon, weight_decay,
                     scaled ? " scaled" : "");
}

}  // namespace lockstep
