#include "layers/pooling/global_max_pool.h"

#include "core/error.h"
#include "layers/base/check.h"

namespace lockstep {

std::vector<Type> GlobalMaxPoolOp::infer(std::span<const Type> in) const {
  expect_count(in, 1);
  expect_image(in[0]);
  const Shape& x = in[0].shape;
  if (x[1] * x[2] == 0 || x[1] * x[2] > INT32_MAX)
    throw InputError("got {}, expected 1 to 2^31 pixels an image", in[0].str());
  const Shape y{x[0], x[3]};
  return {{y, in[0].dtype}, {y, DType::i32}};
}

std::vector<Rule> GlobalMaxPoolOp::rules() const { return {batch_rule(1, 2), {{shard(3)}, {shard(1), shard(1)}}}; }

std::vector<Value> GlobalMaxPoolOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  auto op = std::make_shared<GlobalMaxPoolGradOp>(graph.type(node.in[0]).shape);
  return {graph.add1(node.name + "/grad", std::move(op), {node.out[1], dy[0]})};
}

std::vector<Type> GlobalMaxPoolGradOp::infer(std::span<const Type> in) const {
  expect_count(in, 2);
  expect_float(in[1]);
  Shape dx = x;
  dx[0] = in[1].shape.rank() > 0 ? in[1].shape[0] : 0;
  const Shape y{dx[0], dx[3]};
  expect_type(in[0], {y, DType::i32}, "argmax");
  expect_type(in[1], {y, in[1].dtype}, "dy");
  return {{dx, in[1].dtype}};
}

std::vector<Rule> GlobalMaxPoolGradOp::rules() const { return {batch_rule(2), {{shard(1), shard(1)}, {shard(3)}}}; }

Op::Local GlobalMaxPoolGradOp::local(const Part& part) const {
  if (part.rule.out[0] != shard(3)) return {};
  Shape shape = x;
  shape[3] = part.out[0].size();
  return {std::make_shared<GlobalMaxPoolGradOp>(shape)};
}

Value GlobalMaxPooling2D::build(Builder& builder, std::span<const Value> in) const {
  return builder.add("", std::make_shared<GlobalMaxPoolOp>(), {only_input(in)})[0];
}

}  // namespace lockstep
