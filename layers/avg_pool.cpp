#include "layers/avg_pool.h"

#include "core/error.h"
#include "layers/check.h"

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
  auto op = std::make_shared<GlobalAvgPoolGradOp>(graph.type(node.in[0]).shape);
  return {graph.add1(node.name + "/grad", std::move(op), {dy[0]})};
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
  return builder.add1("", std::make_shared<GlobalAvgPoolOp>(), {in.begin(), in.end()});
}

}  // namespace lockstep
