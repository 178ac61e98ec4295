#include "layers/activations/relu.h"

#include <fmt/format.h>

#include <cmath>

#include "layers/activations/activation.h"
#include "layers/base/check.h"

namespace lockstep {

std::string FusedRelu::str() const {
  if (!present) return "";
  return std::isfinite(top) ? fmt::format("+relu{}", top) : "+relu";
}

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

void ReLU::describe(Fields& fields) {
  fields.field("max_value", options.max_value);
  fields.field("negative_slope", options.negative_slope);
  fields.field("threshold", options.threshold);
}

Value ReLU::build(Builder& builder, std::span<const Value> in) const {
  const auto& [max_value, negative_slope, threshold] = options;
  if (max_value || negative_slope != 0 || threshold != 0) {
    Curve curve{.kind = Curve::Kind::relu, .slope = negative_slope, .threshold = threshold};
    if (max_value) curve.top = *max_value;
    return builder.add1("", std::make_shared<ActivationOp>(curve), {in.begin(), in.end()});
  }
  return builder.add1("", std::make_shared<ReluOp>(), {in.begin(), in.end()});
}

}  // namespace lockstep
