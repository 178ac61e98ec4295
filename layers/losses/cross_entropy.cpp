#include "layers/losses/cross_entropy.h"

#include "layers/base/check.h"
#include "layers/losses/loss_inputs.h"

namespace lockstep {

static void expect_classes(std::span<const Type> in, bool scaled) {
  expect_count(in, scaled ? 4 : 3);
  expect_loss_inputs(in, class_indices_of(in[0]), scaled);
}

std::vector<Type> CrossEntropyOp::infer(std::span<const Type> in) const {
  expect_classes(in, scaled);
  return {{Shape{1}, DType::f32}, {Shape{1}, DType::f32}};
}

std::vector<Rule> CrossEntropyOp::rules() const { return {{loss_inputs(scaled), {partial, partial}}}; }

std::vector<Value> CrossEntropyOp::backward(Graph& graph, const Node& node, std::span<const Value>) const {
  std::vector<Value> gradients(node.in.size());
  gradients[0] = graph.add1(node.name + "/grad", std::make_shared<CrossEntropyGradOp>(scaled), node.in);
  return gradients;
}

std::vector<Type> CrossEntropyGradOp::infer(std::span<const Type> in) const {
  expect_classes(in, scaled);
  return {in[0]};
}

std::vector<Rule> CrossEntropyGradOp::rules() const { return {{loss_inputs(scaled), {shard(0)}}}; }

}  // namespace lockstep
