#include "layers/conv2d.h"

#include <algorithm>

#include "core/error.h"
#include "layers/check.h"
#include "layers/relu.h"
#include "layers/window.h"

namespace lockstep {

namespace {

Window window_of(const Conv2dAttributes& conv) { return {conv.kernel, conv.stride, conv.pad_before, conv.pad_after}; }

/// [K,R,S,C/groups] for `channels` in and `filters` out; checks the groups.
Shape kernel_shape(const Conv2dAttributes& conv, int64_t channels, int64_t filters) {
  if (conv.groups < 1 || channels % conv.groups != 0 || filters % conv.groups != 0)
    throw InputError("{} input channels and {} filters do not divide into {} groups", channels, filters, conv.groups);
  return {filters, conv.kernel[0], conv.kernel[1], channels / conv.groups};
}

Shape output_shape(const Conv2dAttributes& conv, const Shape& x, int64_t filters) {
  Shape y = window_output(window_of(conv), x);
  y[3] = filters;
  return y;
}

}  // namespace

std::vector<Type> Conv2dOp::infer(std::span<const Type> in) const {
  expect_count(in, bias ? 3 : 2);
  expect_image(in[0]);
  const int64_t filters = in[1].shape.rank() == 4 ? in[1].shape[0] : 0;
  expect_type(in[1], {kernel_shape(conv, in[0].shape[3], filters)}, "the kernel");
  if (bias) expect_type(in[2], {Shape{filters}}, "the bias");
  return {{output_shape(conv, in[0].shape, filters), in[0].dtype}};
}

std::vector<Rule> Conv2dOp::rules() const {
  Rule batch{{shard(0), replicate}, {shard(0)}};
  if (bias) batch.in.push_back(replicate);
  return {batch};
}

std::vector<Value> Conv2dOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  const Value x = node.in[0], w = node.in[1];
  std::vector<Value> gradients(node.in.size());
  if (!dy[0]) return gradients;
  Value d = dy[0];
  if (relu) d = graph.add1(node.name + "/relu_grad", std::make_shared<ReluGradOp>(), {node.out[0], d});
  // The weights' gradient first: its reduction can start while the rest of backward runs.
  const auto op = std::make_shared<Conv2dWeightGradOp>(conv, bias);
  std::ranges::copy(graph.add(node.name + "/weight_grad", op, {x, d}), gradients.begin() + 1);
  if (graph.info(x).role != Role::LaneInput)
    gradients[0] =
        graph.add1(node.name + "/data_grad", std::make_shared<Conv2dDataGradOp>(conv, graph.type(x).shape), {w, d});
  return gradients;
}

std::string Conv2dOp::attributes() const {
  std::string text = to_string(window_of(conv));
  if (conv.groups != 1) text += fmt::format(" groups {}", conv.groups);
  if (bias) text += " +bias";
  if (relu) text += " +relu";
  return text;
}

std::vector<Type> Conv2dDataGradOp::infer(std::span<const Type> in) const {
  expect_count(in, 2);
  expect_image(in[1]);
  Shape dx = x;
  dx[0] = in[1].shape[0];
  expect_type(in[0], {kernel_shape(conv, x[3], in[1].shape[3])}, "the kernel");
  expect_type(in[1], {output_shape(conv, dx, in[1].shape[3]), in[1].dtype}, "dy");
  return {{dx, in[1].dtype}};
}

std::vector<Rule> Conv2dDataGradOp::rules() const { return {{{replicate, shard(0)}, {shard(0)}}}; }

std::vector<Type> Conv2dWeightGradOp::infer(std::span<const Type> in) const {
  expect_count(in, 2);
  expect_image(in[0]);
  expect_image(in[1]);
  const Shape &x = in[0].shape, &dy = in[1].shape;
  expect_type(in[1], {output_shape(conv, x, dy[3]), in[0].dtype}, "dy");
  std::vector<Type> out = {{kernel_shape(conv, x[3], dy[3])}};
  if (bias) out.push_back({Shape{dy[3]}});
  return out;
}

std::vector<Rule> Conv2dWeightGradOp::rules() const {
  return {{{shard(0), shard(0)}, std::vector<Placement>(bias ? 2 : 1, partial)}};
}

void Conv2D::describe(Fields& fields) {
  fields.field("filters", filters, true);
  fields.field("kernel_size", kernel_size, true);
  fields.field("strides", options.strides);
  fields.field("padding", options.padding);
  fields.field("activation", options.activation);
  fields.field("use_bias", options.use_bias);
  fields.field("groups", options.groups);
}

Value Conv2D::build(Builder& builder, std::span<const Value> in) const {
  const Value input = only_input(in);
  expect_image(builder.type(input));
  if (filters < 1) throw InputError("{} filters, expected at least 1", filters);
  const Shape x = builder.type(input).shape;
  const Window window = make_window(kernel_size, options.strides, options.padding, x);
  const Conv2dAttributes conv{window.size, window.stride, window.pad_before, window.pad_after, options.groups};
  const Shape weights = kernel_shape(conv, x[3], filters);
  const int64_t area = kernel_size[0] * kernel_size[1];
  // As in Keras, the fans count the filters of all groups.
  std::vector<Value> values{input,
                            builder.parameter("kernel", weights, glorot_uniform(area * weights[3], area * filters))};
  if (options.use_bias) values.push_back(builder.parameter("bias", {filters}, zeros));
  // The activation is a node of its own: whether this convolution or a pool behind it computes it is for `fuse` to say.
  const Value y = builder.add1("", std::make_shared<Conv2dOp>(conv, options.use_bias, false), std::move(values));
  return builder.activate(y, options.activation);
}

}  // namespace lockstep
