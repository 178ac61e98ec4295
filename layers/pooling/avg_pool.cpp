#include "layers/pooling/avg_pool.h"

#include "core/error.h"
#include "layers/base/check.h"

namespace lockstep {

std::vector<Type> AvgPoolOp::infer(std::span<const Type> in) const {
  expect_count(in, 1);
  expect_image(in[0]);
  return {{window_output(window, in[0].shape), in[0].dtype}};
}

std::vector<Value> AvgPoolOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  auto op = std::make_shared<AvgPoolGradOp>(window, graph.type(node.in[0]).shape);
  return {graph.add1(node.name + "/grad", std::move(op), {dy[0]})};
}

std::vector<Rule> AvgPoolOp::rules() const {
  return {batch_rule(1),
          {{lockstep::window(1)}, {shard(1)}, Cut::height},
          {{lockstep::window(2)}, {shard(2)}, Cut::width},
          {{shard(3)}, {shard(3)}}};
}

Interval AvgPoolOp::needs(int dim, Interval seen, int64_t size) const { return under(window, dim, seen, size); }

Op::Local AvgPoolOp::local(const Part& part) const {
  const Placement y = part.rule.out[0];
  if (y == shard(3)) return {};
  return {std::make_shared<AvgPoolOp>(over(window, y.dim, part.out[0], part.in[0]))};
}

std::vector<Rule> AvgPoolGradOp::rules() const { return pool_grad_rules(1); }

Interval AvgPoolGradOp::needs(int dim, Interval seen, int64_t size) const { return under(window, dim, seen, size); }

Op::Local AvgPoolGradOp::local(const Part& part) const {
  const Placement dx = part.rule.out[0];
  Shape shape = x;
  shape[dx.dim] = part.out[0].size();
  return {
      std::make_shared<AvgPoolGradOp>(dx == shard(3) ? window : over(window, dx.dim, part.in[0], part.out[0]), shape)};
}

std::vector<Type> AvgPoolGradOp::infer(std::span<const Type> in) const {
  expect_count(in, 1);
  expect_image(in[0]);
  Shape dx = x;
  dx[0] = in[0].shape[0];
  expect_type(in[0], {window_output(window, dx), in[0].dtype}, "dy");
  return {{dx, in[0].dtype}};
}

std::vector<Type> GlobalAvgPoolOp::infer(std::span<const Type> in) const {
  expect_count(in, 1);
  expect_image(in[0]);
  if (in[0].shape[1] * in[0].shape[2] == 0) throw InputError("got {}, expected at least one pixel", in[0].str());
  return {{Shape{in[0].shape[0], in[0].shape[3]}, in[0].dtype}};
}

std::vector<Value> GlobalAvgPoolOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  auto op = std::make_shared<GlobalAvgPoolGradOp>(pixels, graph.type(node.in[0]).shape);
  return {graph.add1(node.name + "/grad", std::move(op), {dy[0]})};
}

std::vector<Rule> GlobalAvgPoolOp::rules() const {
  return {batch_rule(1), {{shard(1)}, {partial}}, {{shard(2)}, {partial}}, {{shard(3)}, {shard(1)}}};
}

std::vector<Rule> GlobalAvgPoolGradOp::rules() const {
  return {batch_rule(1), {{replicate}, {shard(1)}}, {{replicate}, {shard(2)}}, {{shard(1)}, {shard(3)}}};
}

Op::Local GlobalAvgPoolGradOp::local(const Part& part) const {
  Shape shape = x;
  shape[part.rule.out[0].dim] = part.out[0].size();
  return {std::make_shared<GlobalAvgPoolGradOp>(pixels, shape)};
}

std::vector<Type> GlobalAvgPoolGradOp::infer(std::span<const Type> in) const {
  expect_count(in, 1);
  expect_float(in[0]);
  Shape dx = x;
  dx[0] = in[0].shape.rank() > 0 ? in[0].shape[0] : 0;
  expect_type(in[0], {Shape{dx[0], dx[3]}, in[0].dtype}, "dy");
  return {{dx, in[0].dtype}};
}

Value AveragePooling2D::build(Builder& builder, std::span<const Value> in) const {
  const Window window = pool_window(builder, in, pool_size, options);
  return builder.add1("", std::make_shared<AvgPoolOp>(window), {in[0]});
}

Value GlobalAveragePooling2D::build(Builder& builder, std::span<const Value> in) const {
  const Type& x = builder.type(only_input(in));
  expect_image(x);
  return builder.add1("", std::make_shared<GlobalAvgPoolOp>(x.shape[1] * x.shape[2]), {in[0]});
}

}  // namespace lockstep
