#include "layers/losses/loss_inputs.h"

#include "core/error.h"
#include "layers/base/check.h"
#include "layers/optimizers/loss_scale.h"

namespace lockstep {

void expect_loss_inputs(std::span<const Type> in, const Type& target, bool scaled) {
  expect_count(in, scaled ? 4 : 3);
  expect_f32(in[0]);
  expect_type(in[1], target, "the target tensor");
  expect_lane_state(in[2], in[0]);
  if (scaled) expect_type(in[3], loss_scale_type(), "the loss scale");
}

std::vector<Placement> loss_inputs(bool scaled) {
  std::vector<Placement> in{shard(0), shard(0), shard(0)};
  if (scaled) in.push_back(replicate);
  return in;
}

int64_t rows_of_sample(const Shape& predictions) {
  const auto dims = predictions.dims();
  return Shape(dims.subspan(1, dims.size() - 2)).elements();
}

int64_t numbers_of_sample(const Shape& predictions) { return Shape(predictions.dims().subspan(1)).elements(); }

Type class_indices_of(const Type& predictions) {
  const auto dims = predictions.shape.dims();
  if (dims.size() < 2) throw InputError("got {}, expected a row of classes a sample: f32[N, K]", predictions.str());
  return {Shape(dims.first(dims.size() - 1)), DType::i32};
}

}  // namespace lockstep
