#include "layers/merging/multiply.h"

#include "layers/base/check.h"
#include "layers/merging/merge.h"

namespace lockstep {

namespace {

/// [N,1,1,C] for [N,H,W,C].
Type gate_of(Type images) {
  images.shape[1] = images.shape[2] = 1;
  return images;
}

}  // namespace

std::vector<Type> MultiplyOp::infer(std::span<const Type> in) const {
  expect_count(in, 2);
  expect_float(in[0]);
  if (gated) expect_image(in[0]);
  expect_type(in[1], gated ? gate_of(in[0]) : in[0], "the second input");
  return {in[0]};
}

std::vector<Rule> MultiplyOp::rules() const {
  if (!gated) return elementwise_rules(2);
  return {batch_rule(2),
          {{shard(1), replicate}, {shard(1)}},
          {{shard(2), replicate}, {shard(2)}},
          {{shard(3), shard(3)}, {shard(3)}}};
}

std::vector<Value> MultiplyOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  const auto multiply = std::make_shared<MultiplyOp>(gated);
  const Value a = node.in[0], b = node.in[1];
  const Value da = graph.add1(node.name + "/grad", multiply, {dy[0], b});
  if (!gated) return {da, graph.add1(node.name + "/grad2", multiply, {dy[0], a})};
  return {da, graph.add1(node.name + "/gate_grad", std::make_shared<GateGradOp>(), {a, dy[0]})};
}

std::vector<Type> GateGradOp::infer(std::span<const Type> in) const {
  expect_count(in, 2);
  expect_image(in[0]);
  expect_type(in[1], in[0], "dy");
  return {gate_of(in[0])};
}

std::vector<Rule> GateGradOp::rules() const {
  return {batch_rule(2),
          {{shard(1), shard(1)}, {partial}},
          {{shard(2), shard(2)}, {partial}},
          {{shard(3), shard(3)}, {shard(3)}}};
}

Value Multiply::build(Builder& builder, std::span<const Value> in) const {
  const auto is_gate_of = [&](Value gate, Value images) {
    const Type &g = builder.type(gate), &x = builder.type(images);
    return x.shape.rank() == 4 && !(g == x) && g == gate_of(x);
  };
  return merge(builder, *this, in, [&](Value& product, Value& other) {
    if (is_gate_of(product, other)) std::swap(product, other);
    return std::make_shared<MultiplyOp>(is_gate_of(other, product));
  });
}

}  // namespace lockstep
