#include "layers/activations/softmax.h"

#include "core/error.h"
#include "layers/base/check.h"

namespace lockstep {

std::vector<Type> SoftmaxOp::infer(std::span<const Type> in) const {
  expect_count(in, 1);
  expect_f32(in[0]);
  // Over dimension 0 it would mix samples, and the batch could not be sharded.
  if (in[0].shape.rank() < 2) throw InputError("got {}, expected a batch dimension and at least one more", in[0].str());
  return {in[0]};
}

std::vector<Value> SoftmaxOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  return {graph.add1(node.name + "/grad", std::make_shared<SoftmaxGradOp>(), {node.out[0], dy[0]})};
}

std::vector<Type> SoftmaxGradOp::infer(std::span<const Type> in) const {
  expect_count(in, 2);
  expect_f32(in[0]);
  expect_type(in[1], in[0], "dy");
  return {in[1]};
}

Value Softmax::build(Builder& builder, std::span<const Value> in) const { return builder.softmax("", only_input(in)); }

}  // namespace lockstep
