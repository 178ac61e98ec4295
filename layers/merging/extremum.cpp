#include "layers/merging/extremum.h"

#include "layers/base/check.h"
#include "layers/merging/merge.h"

namespace lockstep {

std::vector<Type> ExtremumOp::infer(std::span<const Type> in) const {
  expect_count(in, 2);
  expect_float(in[0]);
  expect_type(in[1], in[0], "the second input");
  return {in[0]};
}

std::vector<Rule> ExtremumOp::rules() const { return elementwise_rules(2); }

std::vector<Value> ExtremumOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  return graph.add(node.name + "/grad", std::make_shared<ExtremumGradOp>(which), {node.in[0], node.in[1], dy[0]});
}

std::vector<Type> ExtremumGradOp::infer(std::span<const Type> in) const {
  expect_count(in, 3);
  expect_float(in[0]);
  expect_type(in[1], in[0], "the second input");
  expect_type(in[2], in[0], "dy");
  return {in[0], in[0]};
}

std::vector<Rule> ExtremumGradOp::rules() const {
  std::vector<Rule> rules = elementwise_rules(3);
  for (Rule& rule : rules) rule.out.push_back(rule.out[0]);
  return rules;
}

Value Maximum::build(Builder& builder, std::span<const Value> in) const {
  return merge(builder, *this, in, std::make_shared<ExtremumOp>(Extremum::maximum));
}

Value Minimum::build(Builder& builder, std::span<const Value> in) const {
  return merge(builder, *this, in, std::make_shared<ExtremumOp>(Extremum::minimum));
}

}  // namespace lockstep
