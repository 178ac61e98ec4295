#include "layers/linear/conv2d.h"

#include <algorithm>

#include "core/error.h"
#include "layers/activations/relu.h"
#include "layers/base/check.h"
#include "layers/base/window.h"

namespace lockstep {

namespace {

/// For the images of one member of a mesh axis that cuts rows or columns.
Conv2dAttributes over(const Conv2dAttributes& conv, int dim, Interval seen, Interval part) {
  const Window window = over(conv.window(), dim, seen, part);
  Conv2dAttributes local = conv;
  local.pad_before = window.pad_before;
  local.pad_after = window.pad_after;
  return local;
}

/// What a strategy calls a cut of the convolution's filters or channels; and the reverse.
Cut named(const Conv2dAttributes& conv, Cut cut) {
  if (!conv.transposed || (cut != Cut::filters && cut != Cut::channels)) return cut;
  return cut == Cut::filters ? Cut::channels : Cut::filters;
}

std::vector<Rule> named(const Conv2dAttributes& conv, std::vector<Rule> rules) {
  for (Rule& rule : rules) rule.cut = named(conv, rule.cut);
  return rules;
}

/// Groups stay whole where there are any.
int64_t units(const Conv2dAttributes& conv) { return conv.groups == 1 ? 0 : conv.groups; }

/// With the groups shared out.
Conv2dAttributes part_of_groups(const Conv2dAttributes& conv, int64_t members) {
  Conv2dAttributes local = conv;
  local.groups /= members;
  return local;
}

/// [K,R,S,C/groups] for `channels` in and `filters` out; checks the groups.
Shape kernel_shape(const Conv2dAttributes& conv, int64_t channels, int64_t filters) {
  if (conv.groups < 1 || channels % conv.groups != 0 || filters % conv.groups != 0)
    throw InputError("{} input channels and {} filters do not divide into {} groups", channels, filters, conv.groups);
  return {filters, conv.kernel[0], conv.kernel[1], channels / conv.groups};
}

Shape output_shape(const Conv2dAttributes& conv, const Shape& x, int64_t filters) {
  Shape y = window_output(conv.window(), x);
  y[3] = filters;
  return y;
}

std::string text(const Conv2dAttributes& conv) {
  return to_string(conv.window()) + (conv.groups == 1 ? "" : fmt::format(" groups {}", conv.groups));
}

}  // namespace

Conv2dAttributes convolve(const Window& window, int64_t groups) {
  return {window.size, window.stride, window.pad_before, window.pad_after, groups, window.dilation};
}

std::vector<Type> Conv2dOp::infer(std::span<const Type> in) const {
  expect_count(in, bias ? 3 : 2);
  expect_image(in[0]);
  const int64_t filters = in[1].shape.rank() == 4 ? in[1].shape[0] : 0;
  expect_type(in[1], {kernel_shape(conv, in[0].shape[3], filters)}, "the kernel");
  if (bias) expect_type(in[2], {Shape{filters}}, "the bias");
  return {{output_shape(conv, in[0].shape, filters), in[0].dtype}};
}

std::vector<Rule> Conv2dOp::rules() const {
  std::vector<Rule> rules{
      {{shard(0), replicate, replicate}, {shard(0)}},
      {{window(1), replicate, replicate}, {shard(1)}, Cut::height},
      {{window(2), replicate, replicate}, {shard(2)}, Cut::width},
      // Groups keep to themselves.
      {{conv.groups == 1 ? replicate : shard(3), shard(0), shard(0)}, {shard(3)}, Cut::filters, false, units(conv)}};
  if (conv.groups == 1 && !relu) rules.push_back({{shard(3), shard(3), replicate}, {partial}, Cut::channels, false});
  for (Rule& rule : rules) rule.in.resize(bias ? 3 : 2);
  return named(conv, std::move(rules));
}

Interval Conv2dOp::needs(int dim, Interval seen, int64_t size) const { return under(conv.window(), dim, seen, size); }

Op::Local Conv2dOp::local(const Part& part) const {
  switch (named(conv, part.rule.cut)) {
    case Cut::height:
    case Cut::width:
      return {std::make_shared<Conv2dOp>(over(conv, part.rule.out[0].dim, part.out[0], part.in[0]), bias, relu)};
    case Cut::filters:
      if (conv.groups == 1) return {};
      return {std::make_shared<Conv2dOp>(part_of_groups(conv, part.members), bias, relu)};
    case Cut::channels:  // a sum has one bias
      if (bias && part.member > 0) return {std::make_shared<Conv2dOp>(conv, false, relu), 1};
      return {};
    default:
      return {};
  }
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
  if (graph.info(x).role != Role::lane_input)
    gradients[0] =
        graph.add1(node.name + "/data_grad", std::make_shared<Conv2dDataGradOp>(conv, graph.type(x).shape), {w, d});
  return gradients;
}

std::string Conv2dOp::attributes() const { return text(conv) + (bias ? " +bias" : "") + (relu ? " +relu" : ""); }

std::vector<Type> Conv2dDataGradOp::infer(std::span<const Type> in) const {
  expect_count(in, 2);
  expect_image(in[1]);
  Shape dx = x;
  dx[0] = in[1].shape[0];
  expect_type(in[0], {kernel_shape(conv, x[3], in[1].shape[3])}, "the kernel");
  expect_type(in[1], {output_shape(conv, dx, in[1].shape[3]), in[1].dtype}, "dy");
  return {{dx, in[1].dtype}};
}

std::vector<Rule> Conv2dDataGradOp::rules() const {
  std::vector<Rule> rules{
      {{replicate, shard(0)}, {shard(0)}},
      {{replicate, shard(1)}, {overlap(1)}, Cut::height},
      {{replicate, shard(2)}, {overlap(2)}, Cut::width},
      {{shard(0), shard(3)}, {conv.groups == 1 ? partial : shard(3)}, Cut::filters, false, units(conv)}};
  if (conv.groups == 1) rules.push_back({{shard(3), replicate}, {shard(3)}, Cut::channels, false});
  return named(conv, std::move(rules));
}

Interval Conv2dDataGradOp::needs(int dim, Interval seen, int64_t size) const {
  return under(conv.window(), dim, seen, size);
}

Op::Local Conv2dDataGradOp::local(const Part& part) const {
  Shape shape = x;
  switch (named(conv, part.rule.cut)) {
    case Cut::height:
    case Cut::width:
      shape[part.rule.out[0].dim] = part.out[0].size();
      return {std::make_shared<Conv2dDataGradOp>(over(conv, part.rule.in[1].dim, part.in[1], part.out[0]), shape)};
    case Cut::filters:
      if (conv.groups == 1) return {};
      shape[3] = part.out[0].size();
      return {std::make_shared<Conv2dDataGradOp>(part_of_groups(conv, part.members), shape)};
    case Cut::channels:
      shape[3] = part.out[0].size();
      return {std::make_shared<Conv2dDataGradOp>(conv, shape)};
    default:
      return {};
  }
}

std::vector<Value> Conv2dDataGradOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  const Value w = node.in[0], x = node.in[1];
  // What the convolution saw is the gradient now, and what it made is x.
  const auto op = std::make_shared<Conv2dWeightGradOp>(conv, false);
  std::vector<Value> gradients{graph.add1(node.name + "/weight_grad", op, {dy[0], x}), {}};
  if (graph.info(x).role != Role::lane_input)
    gradients[1] = graph.add1(node.name + "/data_grad", std::make_shared<Conv2dOp>(conv, false, false), {dy[0], w});
  return gradients;
}

std::string Conv2dDataGradOp::attributes() const { return text(conv); }

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
  std::vector<Rule> rules{
      {{shard(0), shard(0)}, {partial, partial}},
      {{window(1), shard(1)}, {partial, partial}, Cut::height},
      {{window(2), shard(2)}, {partial, partial}, Cut::width},
      {{conv.groups == 1 ? replicate : shard(3), shard(3)}, {shard(0), shard(0)}, Cut::filters, false, units(conv)}};
  if (conv.groups == 1) rules.push_back({{shard(3), replicate}, {shard(3), replicate}, Cut::channels, false});
  for (Rule& rule : rules) rule.out.resize(bias ? 2 : 1);
  return named(conv, std::move(rules));
}

Interval Conv2dWeightGradOp::needs(int dim, Interval seen, int64_t size) const {
  return under(conv.window(), dim, seen, size);
}

Op::Local Conv2dWeightGradOp::local(const Part& part) const {
  switch (named(conv, part.rule.cut)) {
    case Cut::height:
    case Cut::width:
      return {std::make_shared<Conv2dWeightGradOp>(over(conv, part.rule.in[1].dim, part.in[1], part.in[0]), bias)};
    case Cut::filters:
      if (conv.groups == 1) return {};
      return {std::make_shared<Conv2dWeightGradOp>(part_of_groups(conv, part.members), bias)};
    default:
      return {};
  }
}

void Conv2D::describe(Fields& fields) {
  fields.field("filters", filters, true);
  fields.field("kernel_size", kernel_size, true);
  fields.field("strides", options.strides);
  fields.field("padding", options.padding);
  fields.field("activation", options.activation);
  fields.field("use_bias", options.use_bias);
  fields.field("groups", options.groups);
  fields.field("dilation_rate", options.dilation_rate);
  fields.field("kernel_regularizer", options.kernel_regularizer);
  fields.field("bias_regularizer", options.bias_regularizer);
}

Value Conv2D::build(Builder& builder, std::span<const Value> in) const {
  const Value input = only_input(in);
  expect_image(builder.type(input));
  if (filters < 1) throw InputError("{} filters, expected at least 1", filters);
  const Shape x = builder.type(input).shape;
  const Window window = make_window(kernel_size, options.strides, options.padding, x, options.dilation_rate);
  const Conv2dAttributes conv = convolve(window, options.groups);
  const Shape weights = kernel_shape(conv, x[3], filters);
  const int64_t area = kernel_size[0] * kernel_size[1];
  // As in Keras, the fans count the filters of all groups.
  std::vector<Value> values{input,
                            builder.parameter("kernel", weights, glorot_uniform(area * weights[3], area * filters),
                                              options.kernel_regularizer)};
  if (options.use_bias) values.push_back(builder.parameter("bias", {filters}, zeros, options.bias_regularizer));
  // The activation is a node of its own: whether this convolution or a pool after it computes it is for `fuse` to say.
  const Value y = builder.add1("", std::make_shared<Conv2dOp>(conv, options.use_bias, false), std::move(values));
  return builder.activate(y, options.activation);
}

}  // namespace lockstep
