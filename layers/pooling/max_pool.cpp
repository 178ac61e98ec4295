#include "layers/pooling/max_pool.h"

#include "core/error.h"
#include "layers/base/check.h"

namespace lockstep {

namespace {

std::string text(const Window& window, bool relu) { return to_string(window) + (relu ? " +relu" : ""); }

}  // namespace

std::vector<Type> MaxPoolOp::infer(std::span<const Type> in) const {
  expect_count(in, 1);
  expect_image(in[0]);
  if (window.size[0] * window.size[1] > 256)
    throw InputError("max pooling window {}x{}: expected at most 256 elements", window.size[0], window.size[1]);
  const Shape y = window_output(window, in[0].shape);
  return {{y, in[0].dtype}, {y, DType::u8}};
}

std::vector<Rule> MaxPoolOp::rules() const {
  return {batch_rule(1, 2),
          {{lockstep::window(1)}, {shard(1), shard(1)}, Cut::height},
          {{lockstep::window(2)}, {shard(2), shard(2)}, Cut::width},
          {{shard(3)}, {shard(3), shard(3)}}};
}

Interval MaxPoolOp::needs(int dim, Interval seen, int64_t size) const { return under(window, dim, seen, size); }

Op::Local MaxPoolOp::local(const Part& part) const {
  const Placement y = part.rule.out[0];
  if (y == shard(3)) return {};
  return {std::make_shared<MaxPoolOp>(over(window, y.dim, part.out[0], part.in[0]), relu)};
}

std::vector<Value> MaxPoolOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  std::vector<Value> in{node.out[1], dy[0]};
  if (relu) in.push_back(node.out[0]);
  auto op = std::make_shared<MaxPoolGradOp>(window, relu, graph.type(node.in[0]).shape);
  return {graph.add1(node.name + "/grad", std::move(op), std::move(in))};
}

std::string MaxPoolOp::attributes() const { return text(window, relu); }

std::vector<Type> MaxPoolGradOp::infer(std::span<const Type> in) const {
  expect_count(in, relu ? 3 : 2);
  expect_image(in[1]);
  Shape dx = x;
  dx[0] = in[1].shape[0];
  const Shape y = window_output(window, dx);
  expect_type(in[0], {y, DType::u8}, "argmax");
  const DType dtype = in[1].dtype;
  expect_type(in[1], {y, dtype}, "dy");
  if (relu) expect_type(in[2], {y, dtype}, "y");
  return {{dx, dtype}};
}

std::vector<Rule> MaxPoolGradOp::rules() const { return pool_grad_rules(relu ? 3 : 2); }

Interval MaxPoolGradOp::needs(int dim, Interval seen, int64_t size) const { return under(window, dim, seen, size); }

Op::Local MaxPoolGradOp::local(const Part& part) const {
  const Placement dx = part.rule.out[0];
  Shape shape = x;
  shape[dx.dim] = part.out[0].size();
  return {std::make_shared<MaxPoolGradOp>(dx == shard(3) ? window : over(window, dx.dim, part.in[0], part.out[0]), relu,
                                          shape)};
}

std::vector<Rule> pool_grad_rules(size_t inputs) {
  const auto all = [&](Placement p) { return std::vector<Placement>(inputs, p); };
  return {batch_rule(inputs),
          {all(shard(1)), {overlap(1)}, Cut::height},
          {all(shard(2)), {overlap(2)}, Cut::width},
          {all(shard(3)), {shard(3)}}};
}

std::string MaxPoolGradOp::attributes() const { return text(window, relu); }

PoolOptions with_strides(PoolOptions options, Size2 pool_size) {
  if (options.strides == Size2{0, 0}) options.strides = pool_size;
  return options;
}

void describe_pool(Fields& fields, Size2& pool_size, PoolOptions& options) {
  const bool alike = options.strides == pool_size;
  fields.field("pool_size", pool_size);
  // The default of one is the other.
  if (alike) options.strides = pool_size;
  fields.field("strides", options.strides);
  fields.field("padding", options.padding);
}

Window pool_window(const Builder& builder, std::span<const Value> in, Size2 pool_size, const PoolOptions& options) {
  const Type& x = builder.type(only_input(in));
  expect_image(x);
  return make_window(pool_size, options.strides, options.padding, x.shape);
}

void MaxPooling2D::describe(Fields& fields) { describe_pool(fields, pool_size, options); }

Value MaxPooling2D::build(Builder& builder, std::span<const Value> in) const {
  const Window window = pool_window(builder, in, pool_size, options);
  return builder.add("", std::make_shared<MaxPoolOp>(window), {in[0]})[0];
}

}  // namespace lockstep
