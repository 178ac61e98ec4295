#include "layers/optimizers/moving_average.h"

#include "core/error.h"
#include "layers/check.h"

namespace lockstep {

MovingAverageOp::MovingAverageOp(float momentum) : momentum(momentum) {
  if (!(momentum >= 0 && momentum <= 1)) throw InputError("moving average: got momentum {}, expected 0 to 1", momentum);
}

std::vector<Type> MovingAverageOp::infer(std::span<const Type> in) const {
  expect_count(in, 3);
  expect_f32(in[0]);
  expect_type(in[1], in[0], "the sum");
  expect_step_state(in[2]);
  return {in[0]};
}

std::string MovingAverageOp::attributes() const { return fmt::format("momentum {}", momentum); }

}  // namespace lockstep
