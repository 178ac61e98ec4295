#include "layers/linear/dense.h"

#include <algorithm>

#include "core/error.h"
#include "layers/activations/relu.h"
#include "layers/base/check.h"

namespace lockstep {

namespace {

void expect_matrix(const Type& type) {
  if (!is_float(type.dtype) || type.shape.rank() != 2)
    throw InputError("got {}, expected f32[N, features]; use Flatten before Dense", type.str());
}

}  // namespace

std::vector<Type> DenseOp::infer(std::span<const Type> in) const {
  expect_count(in, bias ? 3 : 2);
  expect_matrix(in[0]);
  expect_matrix(in[1]);
  const int64_t units = in[1].shape[0];
  expect_type(in[1], {Shape{units, in[0].shape[1]}, DType::f32}, "the kernel");
  if (bias) expect_type(in[2], {Shape{units}, DType::f32}, "the bias");
  return {{Shape{in[0].shape[0], units}, in[0].dtype}};
}

std::vector<Rule> DenseOp::rules() const {
  std::vector<Rule> rules{{{shard(0), replicate, replicate}, {shard(0)}},
                          {{replicate, shard(0), shard(0)}, {shard(1)}, Cut::filters, false}};
  if (!relu) rules.push_back({{shard(1), shard(1), replicate}, {partial}, Cut::channels, false});
  for (Rule& rule : rules) rule.in.resize(bias ? 3 : 2);
  return rules;
}

Op::Local DenseOp::local(const Part& part) const {
  // A sum has one bias.
  if (part.rule.cut == Cut::channels && bias && part.member > 0) return {std::make_shared<DenseOp>(false, relu), 1};
  return {};
}

std::vector<Rule> DenseDataGradOp::rules() const {
  return {{{replicate, shard(0)}, {shard(0)}},
          {{shard(0), shard(1)}, {partial}, Cut::filters, false},
          {{shard(1), replicate}, {shard(1)}, Cut::channels, false}};
}

std::vector<Value> DenseOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  const Value x = node.in[0], w = node.in[1];
  std::vector<Value> gradients(node.in.size());
  if (!dy[0]) return gradients;
  Value d = dy[0];
  if (relu) d = graph.add1(node.name + "/relu_grad", std::make_shared<ReluGradOp>(), {node.out[0], d});
  // The weights' gradient first: its reduction can start while the rest of backward runs.
  const auto op = std::make_shared<DenseWeightGradOp>(bias);
  std::ranges::copy(graph.add(node.name + "/weight_grad", op, {x, d}), gradients.begin() + 1);
  if (graph.info(x).role != Role::lane_input)
    gradients[0] = graph.add1(node.name + "/data_grad", std::make_shared<DenseDataGradOp>(), {w, d});
  return gradients;
}

std::string DenseOp::attributes() const { return fmt::format("{}{}", bias ? "+bias" : "", relu ? "+relu" : ""); }

std::vector<Type> DenseDataGradOp::infer(std::span<const Type> in) const {
  expect_count(in, 2);
  expect_matrix(in[0]);
  expect_f32(in[0]);
  expect_matrix(in[1]);
  expect_type(in[1], {Shape{in[1].shape[0], in[0].shape[0]}, in[1].dtype}, "dy");
  return {{Shape{in[1].shape[0], in[0].shape[1]}, in[1].dtype}};
}

std::vector<Type> DenseWeightGradOp::infer(std::span<const Type> in) const {
  expect_count(in, 2);
  expect_matrix(in[0]);
  expect_matrix(in[1]);
  expect_type(in[1], {Shape{in[0].shape[0], in[1].shape[1]}, in[0].dtype}, "dy");
  const int64_t units = in[1].shape[1];
  std::vector<Type> out{{Shape{units, in[0].shape[1]}, DType::f32}};
  if (bias) out.push_back({Shape{units}, DType::f32});
  return out;
}

std::vector<Rule> DenseWeightGradOp::rules() const {
  std::vector<Rule> rules{{{shard(0), shard(0)}, {partial, partial}},
                          {{replicate, shard(1)}, {shard(0), shard(0)}, Cut::filters, false},
                          {{shard(1), replicate}, {shard(1), replicate}, Cut::channels, false}};
  for (Rule& rule : rules) rule.out.resize(bias ? 2 : 1);
  return rules;
}

void Dense::describe(Fields& fields) {
  fields.field("units", units, true);
  fields.field("activation", options.activation);
  fields.field("use_bias", options.use_bias);
  fields.field("kernel_regularizer", options.kernel_regularizer);
  fields.field("bias_regularizer", options.bias_regularizer);
}

Value Dense::build(Builder& builder, std::span<const Value> in) const {
  const Value input = only_input(in);
  expect_matrix(builder.type(input));
  if (units < 1) throw InputError("{} units, expected at least 1", units);
  const Shape x = builder.type(input).shape;
  std::vector<Value> inputs{
      input, builder.parameter("kernel", {units, x[1]}, glorot_uniform(x[1], units), options.kernel_regularizer)};
  if (options.use_bias) inputs.push_back(builder.parameter("bias", {units}, zeros, options.bias_regularizer));
  const Value y = builder.add1("", std::make_shared<DenseOp>(options.use_bias, false), inputs);
  return builder.activate(y, options.activation);
}

}  // namespace lockstep
