#include "layers/conv2d.h"

#include "core/error.h"
#include "layers/check.h"
#include "layers/relu.h"
#include "layers/window.h"

namespace lockstep {

namespace {

Window window_of(const Conv2dAttributes& conv) { return {conv.kernel, conv.stride, conv.pad_before, conv.pad_after}; }

Shape kernel_shape(const Conv2dAttributes& conv, int64_t filters, int64_t channels) {
  return {filters, conv.kernel[0], conv.kernel[1], channels / conv.groups};
}

}  // namespace

std::vector<Type> Conv2dOp::infer(std::span<const Type> in) const {
  expect_count(in, bias ? 3 : 2);
  expect_image(in[0]);
  expect_image(in[1]);
  const Shape& x = in[0].shape;
  const int64_t filters = in[1].shape[0];
  if (x[3] % conv.groups != 0 || filters % conv.groups != 0)
    throw InputError("{} channels and {} filters do not divide into {} groups (input {})", x[3], filters, conv.groups,
                     x.str());
  expect_type(in[1], {kernel_shape(conv, filters, x[3]), DType::f32}, "the kernel");
  if (bias) expect_type(in[2], {Shape{filters}, DType::f32}, "the bias");
  Shape y = window_output(window_of(conv), x);
  y[3] = filters;
  return {{y, DType::f32}};
}

std::vector<Rule> Conv2dOp::rules() const {
  Rule batch{{shard(0), replicate}, {shard(0)}};
  if (bias) batch.in.push_back(replicate);
  return {batch};
}

std::vector<Value> Conv2dOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  const Value x = node.in[0], w = node.in[1];
  Value gradient = dy[0];
  if (relu) gradient = graph.add1(node.name + "/relu_grad", std::make_shared<ReluGradOp>(), {node.out[0], gradient});
  // The weights' gradient first: its reduction can start while the rest of backward runs.
  std::vector<Value> result{Value{}};
  const auto op = std::make_shared<Conv2dWeightGradOp>(conv, bias);
  for (Value v : graph.add(node.name + "/weight_grad", op, {x, gradient})) result.push_back(v);
  if (graph.info(x).role != Role::LaneInput)
    result[0] = graph.add1(node.name + "/data_grad", std::make_shared<Conv2dDataGradOp>(conv, graph.type(x).shape),
                           {w, gradient});
  return result;
}

std::string Conv2dOp::attributes() const {
  std::string text = to_string(window_of(conv));
  if (conv.groups > 1) text += fmt::format(" groups {}", conv.groups);
  if (bias) text += " +bias";
  if (relu) text += " +relu";
  return text;
}

std::vector<Type> Conv2dDataGradOp::infer(std::span<const Type> in) const {
  expect_count(in, 2);
  expect_image(in[1]);
  Shape dx = x;
  dx[0] = in[1].shape[0];
  return {{dx, DType::f32}};
}

std::vector<Rule> Conv2dDataGradOp::rules() const { return {{{replicate, shard(0)}, {shard(0)}}}; }

std::vector<Type> Conv2dWeightGradOp::infer(std::span<const Type> in) const {
  expect_count(in, 2);
  expect_image(in[0]);
  expect_image(in[1]);
  const int64_t filters = in[1].shape[3];
  std::vector<Type> out{{kernel_shape(conv, filters, in[0].shape[3]), DType::f32}};
  if (bias) out.push_back({Shape{filters}, DType::f32});
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
  const int64_t area = kernel_size[0] * kernel_size[1];
  const auto init = glorot_uniform(area * x[3] / options.groups, area * filters);
  std::vector<Value> inputs{in[0], builder.parameter("kernel", kernel_shape(conv, filters, x[3]), init)};
  if (options.use_bias) inputs.push_back(builder.parameter("bias", {filters}, zeros));
  const Value y = builder.add1("", std::make_shared<Conv2dOp>(conv, options.use_bias, false), inputs);
  return builder.activate(y, options.activation);
}

}  // namespace lockstep
