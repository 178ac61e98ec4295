#include "layers/optimizers/loss_scale.h"

#include "core/error.h"
#include "layers/base/check.h"

namespace lockstep {

std::vector<Type> FiniteOp::infer(std::span<const Type> in) const {
  if (in.empty()) throw InputError("got no inputs, expected at least 1");
  for (const Type& type : in) expect_f32(type);
  return {{Shape{1}, DType::f32}};
}

LossScaleOp::LossScaleOp(int growth_interval) : growth_interval(growth_interval) {
  if (growth_interval < 1)
    throw InputError("loss scale: got a growth interval of {} steps, expected at least 1", growth_interval);
}

std::vector<Type> LossScaleOp::infer(std::span<const Type> in) const {
  expect_count(in, 2);
  expect_loss_scale(in);
  return {in[0]};
}

std::string LossScaleOp::attributes() const { return fmt::format("growth interval {}", growth_interval); }

void expect_loss_scale(std::span<const Type> two) {
  expect_type(two[0], loss_scale_type(), "the loss scale");
  expect_type(two[1], {Shape{1}, DType::f32}, "the finite flag");
}

}  // namespace lockstep
