#include "layers/optimizers/moving_average.h"

#include "core/error.h"
#include "layers/base/check.h"
#include "layers/normalization/moments.h"

namespace lockstep {

MovingAverageOp::MovingAverageOp(float momentum) : momentum(momentum) {
  if (!(momentum >= 0 && momentum <= 1)) throw InputError("moving average: got momentum {}, expected 0 to 1", momentum);
}

std::vector<Type> MovingAverageOp::infer(std::span<const Type> in) const {
  expect_count(in, 3);
  expect_f32(in[0]);
  expect_type(in[1], in[0], "the moving variance");
  expect_type(in[2], moments_type(in[0]), "the moments");
  return {in[0], in[1]};
}

std::string MovingAverageOp::attributes() const { return fmt::format("momentum {}", momentum); }

}  // namespace lockstep
