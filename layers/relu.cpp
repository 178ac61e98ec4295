#include "layers/relu.h"

#include "layers/check.h"

namespace lockstep {

std::vector<Type> ReluOp::infer(std::span<const Type> in) const {
  expect_count(in, 1);
  expect_float(in[0]);
  return {in[0]};
}

std::vector<Rule> ReluOp::rules() const { return elementwise_rules(1); }

std::vector<Value> ReluOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  return {graph.add1(node.name + "/grad", std::make_shared<ReluGradOp>(), {node.out[0], dy[0]})};
}

std::vector<Type> ReluGradOp::infer(std::span<const Type> in) const {
  expect_count(in, 2);
  expect_float(in[0]);
  expect_type(in[1], in[0], "dy");
  return {in[1]};
}

std::vector<Rule> ReluGradOp::rules() const { return elementwise_rules(2); }

Value ReLU::build(Builder& builder, std::span<const Value> in) const {
  return builder.add1("", std::make_shared<ReluOp>(), {in.begin(), in.end()});
}

}  // namespace lockstep
