#include "layers/losses/element_loss.h"

#include <fmt/format.h>

#include "layers/base/check.h"
#include "layers/losses/loss_inputs.h"

namespace lockstep {

static void expect_numbers(std::span<const Type> in, bool scaled) {
  expect_count(in, scaled ? 4 : 3);
  expect_loss_inputs(in, in[0], scaled);
}

std::string ElementLoss::str() const {
  const std::string smoothed = label_smoothing > 0 ? fmt::format(" smoothed {}", label_smoothing) : "";
  switch (kind) {
    case Kind::squared:
      return "squared";
    case Kind::absolute:
      return "absolute";
    case Kind::huber:
      return fmt::format("huber delta {}", delta);
    case Kind::binary:
      return "binary" + smoothed;
    case Kind::focal:
      return fmt::format("focal gamma {}{}{}", gamma, balanced ? fmt::format(" alpha {}", alpha) : "", smoothed);
  }
  return {};
}

std::vector<Type> ElementLossOp::infer(std::span<const Type> in) const {
  expect_numbers(in, scaled);
  return {{Shape{1}, DType::f32}};
}

std::vector<Rule> ElementLossOp::rules() const { return {{loss_inputs(scaled), {partial}}}; }

std::vector<Value> ElementLossOp::backward(Graph& graph, const Node& node, std::span<const Value>) const {
  std::vector<Value> gradients(node.in.size());
  gradients[0] = graph.add1(node.name + "/grad", std::make_shared<ElementLossGradOp>(loss, scaled), node.in);
  return gradients;
}

std::vector<Type> ElementLossGradOp::infer(std::span<const Type> in) const {
  expect_numbers(in, scaled);
  return {in[0]};
}

std::vector<Rule> ElementLossGradOp::rules() const { return {{loss_inputs(scaled), {shard(0)}}}; }

}  // namespace lockstep
