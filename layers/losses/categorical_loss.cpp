#include "layers/losses/categorical_loss.h"

#include <fmt/format.h>

#include "core/error.h"
#include "layers/base/check.h"
#include "layers/losses/loss_inputs.h"

namespace lockstep {

static void expect_distributions(std::span<const Type> in, bool scaled) {
  expect_count(in, scaled ? 4 : 3);
  static_cast<void>(class_indices_of(in[0]));  // refuses what has no rows of classes
  expect_loss_inputs(in, in[0], scaled);
}

std::string CategoricalOptions::str() const {
  std::string text = focal ? fmt::format("focal alpha {} gamma {}", alpha, gamma) : "";
  if (label_smoothing > 0) text += fmt::format("{}smoothed {}", text.empty() ? "" : " ", label_smoothing);
  return text;
}

std::vector<Type> CategoricalLossOp::infer(std::span<const Type> in) const {
  expect_distributions(in, scaled);
  return {{Shape{1}, DType::f32}};
}

std::vector<Rule> CategoricalLossOp::rules() const { return {{loss_inputs(scaled), {partial}}}; }

std::vector<Value> CategoricalLossOp::backward(Graph& graph, const Node& node, std::span<const Value>) const {
  std::vector<Value> gradients(node.in.size());
  gradients[0] = graph.add1(node.name + "/grad", std::make_shared<CategoricalLossGradOp>(options, scaled), node.in);
  return gradients;
}

std::vector<Type> CategoricalLossGradOp::infer(std::span<const Type> in) const {
  expect_distributions(in, scaled);
  return {in[0]};
}

std::vector<Rule> CategoricalLossGradOp::rules() const { return {{loss_inputs(scaled), {shard(0)}}}; }

}  // namespace lockstep
