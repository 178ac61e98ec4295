#include "layers/linear/bias.h"

#include "layers/base/check.h"

namespace lockstep {

std::vector<Type> BiasOp::infer(std::span<const Type> in) const {
  expect_count(in, 2);
  expect_image(in[0]);
  expect_type(in[1], {Shape{in[0].shape[3]}}, "the bias");
  return {in[0]};
}

std::vector<Rule> BiasOp::rules() const {
  return {{{shard(0), replicate}, {shard(0)}},
          {{shard(1), replicate}, {shard(1)}, Cut::height},
          {{shard(2), replicate}, {shard(2)}, Cut::width},
          {{shard(3), shard(0)}, {shard(3)}}};
}

std::vector<Value> BiasOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  return {dy[0], graph.add1(node.name + "/grad", std::make_shared<BiasGradOp>(), {dy[0]})};
}

std::vector<Type> BiasGradOp::infer(std::span<const Type> in) const {
  expect_count(in, 1);
  expect_image(in[0]);
  return {{Shape{in[0].shape[3]}}};
}

std::vector<Rule> BiasGradOp::rules() const {
  return {{{shard(0)}, {partial}}, {{shard(1)}, {partial}}, {{shard(2)}, {partial}}, {{shard(3)}, {shard(0)}}};
}

}  // namespace lockstep
