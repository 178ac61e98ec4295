#include "layers/loss.h"

#include "core/error.h"
#include "layers/check.h"

namespace lockstep {

namespace {

void expect_loss_inputs(std::span<const Type> in) {
  expect_count(in, 3);
  expect_float(in[0]);
  if (in[0].shape.rank() != 2) throw InputError("got {}, expected one row of classes a sample: f32[N, K]", in[0].str());
  expect_type(in[1], {Shape{in[0].shape[0]}, DType::i32}, "the label tensor");
  expect_lane_state(in[2], in[0]);
}

}  // namespace

std::vector<Type> CrossEntropyOp::infer(std::span<const Type> in) const {
  expect_loss_inputs(in);
  return {{Shape{1}, DType::f32}, {Shape{1}, DType::f32}};
}

std::vector<Value> CrossEntropyOp::backward(Graph& graph, const Node& node, std::span<const Value>) const {
  return {graph.add1(node.name + "/grad", std::make_shared<CrossEntropyGradOp>(), node.in), Value{}, Value{}};
}

std::vector<Type> CrossEntropyGradOp::infer(std::span<const Type> in) const {
  expect_loss_inputs(in);
  return {in[0]};
}

}  // namespace lockstep
