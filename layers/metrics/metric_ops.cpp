#include "layers/metrics/metric_ops.h"

#include "core/error.h"
#include "layers/base/check.h"
#include "layers/losses/loss_inputs.h"

namespace lockstep {

/// Class indices, or rows of numbers like the predictions'.
static void expect_rows(std::span<const Type> in) {
  expect_count(in, 3);
  const Type indices = class_indices_of(in[0]);
  expect_loss_inputs(in, in[1].dtype == DType::i32 ? indices : in[0], false);
}

std::vector<Type> TopKOp::infer(std::span<const Type> in) const {
  expect_rows(in);
  if (k < 1 || k > in[0].shape[-1])
    throw InputError("k is {}, expected 1 to the number of classes, {}", k, in[0].shape[-1]);
  return {{Shape{1}, DType::f32}};
}

std::vector<Rule> TopKOp::rules() const { return {{loss_inputs(false), {partial}}}; }

std::vector<Type> ConfusionOp::infer(std::span<const Type> in) const {
  if (binary) {
    expect_count(in, 3);
    expect_loss_inputs(in, in[0], false);
    return {{Shape{2, 2}, DType::f32}};
  }
  expect_rows(in);
  const int64_t classes = in[0].shape[-1];
  if (constexpr int64_t most = 4096; classes > most)
    throw InputError("got {} classes, expected at most {}: each pair of classes is counted", classes, most);
  return {{Shape{classes, classes}, DType::f32}};
}

std::vector<Rule> ConfusionOp::rules() const { return {{loss_inputs(false), {partial}}}; }

}  // namespace lockstep
