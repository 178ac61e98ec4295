#include "layers/conv2d.h"

#include "core/error.h"
#include "layers/check.h"
#include "layers/relu.h"
#include "layers/window.h"

namespace lockstep {

namespace {

Window window_of(const Conv2dAttributes& conv) {
  return {conv.kernel, conv.stride, conv.pad_before, conv.pad_after};
}

/// [K,R,S,C/groups] for images `x` and `filters` out; checks the groups.
Shape kernel_shape(const Conv2dAttributes& conv, const Shape& x, int64_t filters) {
  if (x[3] % conv.groups != 0 || filters % conv.groups != 0)
    throw InputError("{} channels and {} filters do not divide into {} groups (input {})", x[3], filters, conv.groups,
                     x.str());
  return {filters, conv.kernel[0], conv.kernel[1], x[3] / conv.groups};
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
  expect_type(in[1], {kernel_shape(conv, in[0].shape, filters)}, "the kernel");
  if (bias) expect_type(in[2], {Shape{filters}}, "the bias");
  return {{output_shape(conv, in[0].shape, filters)}};
}

std::vector<Rule> Conv2dOp::rules() const {
  std::vector<Rule> rules = {{{shard(0), replicate}, {shard(0)}}};
  if (conv.groups == 1) rules.push_back({{replicate, shard(0)}, {shard(3)}});
  if (bias) {
    rules[0].in.push_back(replicate);
    if (conv.groups == 1) rules[1].in.push_back(shard(0));
  }
  // With a bias it would be added once a member, and ReLU of a sum is not the sum of ReLUs.
  if (conv.groups == 1 && !bias && !relu) rules.push_back({{shard(3), shard(3)}, {partial}});
  return rules;
}

std::vector<Value> Conv2dOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  const std::string name = node.name;  // adding nodes moves `node`
  const Value x = node.in[0], w = node.in[1], y = node.out[0];
  std::vector<Value> gradients(node.in.size());
  if (!dy[0]) return gradients;
  const Value d = relu ? graph.add1(name + "/relu_grad", std::make_shared<ReluGradOp>(), {y, dy[0]}) : dy[0];
  // The weight gradient comes first, so that its reduction can start while the data gradient is computed.
  const auto weights = graph.add(name + "/weight_grad", std::make_shared<Conv2dWeightGradOp>(conv, bias), {x, d});
  gradients[1] = weights[0];
  if (bias) gradients[2] = weights[1];
  if (graph.info(x).role != Role::LaneInput)
    gradients[0] =
        graph.add1(name + "/data_grad", std::make_shared<Conv2dDataGradOp>(conv, graph.type(x).shape), {w, d});
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
  expect_type(in[0], {kernel_shape(conv, x, in[1].shape[3])}, "the kernel");
  expect_type(in[1], {output_shape(conv, dx, in[1].shape[3])}, "dy");
  return {{dx}};
}

std::vector<Rule> Conv2dDataGradOp::rules() const {
  std::vector<Rule> rules = {{{replicate, shard(0)}, {shard(0)}}};
  if (conv.groups == 1) {
    rules.push_back({{shard(0), shard(3)}, {partial}});
    rules.push_back({{shard(3), replicate}, {shard(3)}});
  }
  return rules;
}

std::vector<Type> Conv2dWeightGradOp::infer(std::span<const Type> in) const {
  expect_count(in, 2);
  expect_image(in[0]);
  expect_image(in[1]);
  const Shape &x = in[0].shape, &dy = in[1].shape;
  expect_type(in[1], {output_shape(conv, x, dy[3])}, "dy");
  std::vector<Type> out = {{kernel_shape(conv, x, dy[3])}};
  if (bias) out.push_back({Shape{dy[3]}});
  return out;
}

std::vector<Rule> Conv2dWeightGradOp::rules() const {
  std::vector<Rule> rules = {{{shard(0), shard(0)}, {partial}}};
  if (conv.groups == 1) {
    rules.push_back({{replicate, shard(3)}, {shard(0)}});
    rules.push_back({{shard(3), replicate}, {shard(3)}});
  }
  if (bias) {
    rules[0].out.push_back(partial);
    if (conv.groups == 1) {
      rules[1].out.push_back(shard(0));
      rules[2].out.push_back(replicate);
    }
  }
  return rules;
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
  if (in.size() != 1) throw InputError("layer '{}': Conv2D takes 1 input, {} were given", builder.layer(), in.size());
  const Shape x = builder.type(in[0]).shape;
  if (x.rank() != 4)
    throw InputError("layer '{}': Conv2D takes images [N, H, W, C], its input is {}", builder.layer(), x.str());
  if (filters < 1 || options.groups < 1)
    throw InputError("layer '{}': {} filters in {} groups, expected at least 1 of each", builder.layer(), filters,
                     options.groups);
  Window window;
  try {
    window = make_window(kernel_size, options.strides, options.padding, x);
  } catch (const InputError& error) {
    throw InputError("layer '{}': {}", builder.layer(), error.what());
  }
  const Conv2dAttributes conv{window.size, window.stride, window.pad_before, window.pad_after, options.groups};
  const Shape shape = kernel_shape(conv, x, filters);
  const int64_t area = kernel_size[0] * kernel_size[1];
  std::vector<Value> values = {in[0],
                               builder.parameter("kernel", shape, glorot_uniform(area * shape[3], area * filters))};
  if (options.use_bias) values.push_back(builder.parameter("bias", {filters}, zeros));
  // The activation is a node of its own; the fuse pass decides who takes it.
  const Value y = builder.add1("", std::make_shared<Conv2dOp>(conv, options.use_bias, false), std::move(values));
  return builder.activate(y, options.activation);
}

}  // namespace lockstep
