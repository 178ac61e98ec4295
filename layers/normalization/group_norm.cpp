#include "layers/normalization/group_norm.h"

#include "core/error.h"
#include "layers/base/check.h"

namespace lockstep {

namespace {

void expect_channels(const GroupNormAttributes& norm, const Type& x) {
  expect_float(x);
  if (x.shape.rank() < 2 || x.shape.elements() == 0)
    throw InputError("got {}, expected samples with channels, f32[N, …, C]", x.str());
  if (norm.groups < 1 || x.shape[-1] % norm.groups != 0)
    throw InputError("{} channels do not divide into {} groups", x.shape[-1], norm.groups);
}

void expect_epsilon(float epsilon) {
  if (!(epsilon > 0)) throw InputError("got epsilon {}, expected a number above 0", epsilon);
}

/// A member's share of the groups.
GroupNormAttributes part_of_groups(GroupNormAttributes norm, const Op::Part& part) {
  if (part.rule.cut == Cut::filters) norm.groups /= part.members;
  return norm;
}

void describe_options(Fields& fields, SampleNormOptions& options) {
  fields.field("axis", options.axis);
  fields.field("epsilon", options.epsilon);
  fields.field("beta_regularizer", options.beta_regularizer);
  fields.field("gamma_regularizer", options.gamma_regularizer);
}

Value build_norm(Builder& builder, Value x, NormOver over, int64_t groups, const SampleNormOptions& options) {
  const Type& type = builder.type(x);
  if (options.axis != -1 && options.axis != type.shape.rank() - 1)
    throw InputError("axis is {}, expected -1 (the channels) for {}", options.axis, type.str());
  const GroupNormAttributes norm{over, groups, options.epsilon};
  expect_epsilon(norm.epsilon);
  expect_channels(norm, type);
  const Shape channels{type.shape[-1]};
  return builder.add("", std::make_shared<GroupNormOp>(norm),
                     {x, builder.parameter("gamma", channels, ones, options.gamma_regularizer),
                      builder.parameter("beta", channels, zeros, options.beta_regularizer)})[0];
}

}  // namespace

Shape GroupNormAttributes::statistics(const Shape& x) const {
  if (over == NormOver::group) return {x[0], groups};
  Shape of_pixels = x;
  of_pixels[-1] = 1;
  return of_pixels;
}

std::string GroupNormAttributes::str() const {
  return over == NormOver::group ? fmt::format("groups {} epsilon {}", groups, epsilon)
                                 : fmt::format("epsilon {}", epsilon);
}

GroupNormOp::GroupNormOp(GroupNormAttributes norm) : norm(norm) { expect_epsilon(norm.epsilon); }

std::vector<Type> GroupNormOp::infer(std::span<const Type> in) const {
  expect_count(in, 3);
  expect_channels(norm, in[0]);
  const Type channels{Shape{in[0].shape[-1]}}, statistics{norm.statistics(in[0].shape)};
  expect_type(in[1], channels, "gamma");
  expect_type(in[2], channels, "beta");
  return {in[0], statistics, statistics};
}

std::vector<Rule> GroupNormOp::rules() const {
  std::vector<Rule> rules{{{shard(0), replicate, replicate}, {shard(0), shard(0), shard(0)}}};
  if (norm.over == NormOver::channels) {
    for (const auto& [dim, cut] : {std::pair{1, Cut::height}, {2, Cut::width}})
      rules.push_back({{shard(dim), replicate, replicate}, {shard(dim), shard(dim), shard(dim)}, cut});
  } else {
    // Groups keep to themselves.
    rules.push_back({.in = {shard(-1), shard(0), shard(0)},
                     .out = {shard(-1), shard(1), shard(1)},
                     .cut = Cut::filters,
                     .units = norm.groups});
  }
  return rules;
}

Op::Local GroupNormOp::local(const Part& part) const {
  return {std::make_shared<GroupNormOp>(part_of_groups(norm, part))};
}

std::vector<Value> GroupNormOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  return graph.add(node.name + "/grad", std::make_shared<GroupNormGradOp>(norm),
                   {node.in[0], dy[0], node.in[1], node.out[1], node.out[2]});
}

std::vector<Type> GroupNormGradOp::infer(std::span<const Type> in) const {
  expect_count(in, 5);
  const Type& x = in[0];
  expect_channels(norm, x);
  const Type channels{Shape{x.shape[-1]}}, statistics{norm.statistics(x.shape)};
  expect_type(in[1], x, "dy");
  expect_type(in[2], channels, "gamma");
  expect_type(in[3], statistics, "the mean");
  expect_type(in[4], statistics, "the inverse deviation");
  return {x, channels, channels};
}

std::vector<Rule> GroupNormGradOp::rules() const {
  std::vector<Rule> rules{{{shard(0), shard(0), replicate, shard(0), shard(0)}, {shard(0), partial, partial}}};
  if (norm.over == NormOver::channels) {
    for (const auto& [dim, cut] : {std::pair{1, Cut::height}, {2, Cut::width}})
      rules.push_back(
          {{shard(dim), shard(dim), replicate, shard(dim), shard(dim)}, {shard(dim), partial, partial}, cut});
  } else {
    rules.push_back({.in = {shard(-1), shard(-1), shard(0), shard(1), shard(1)},
                     .out = {shard(-1), shard(0), shard(0)},
                     .cut = Cut::filters,
                     .units = norm.groups});
  }
  return rules;
}

Op::Local GroupNormGradOp::local(const Part& part) const {
  return {std::make_shared<GroupNormGradOp>(part_of_groups(norm, part))};
}

void LayerNormalization::describe(Fields& fields) { describe_options(fields, options); }

Value LayerNormalization::build(Builder& builder, std::span<const Value> in) const {
  return build_norm(builder, only_input(in), NormOver::channels, 1, options);
}

void GroupNormalization::describe(Fields& fields) {
  fields.field("groups", groups);
  describe_options(fields, options);
}

Value GroupNormalization::build(Builder& builder, std::span<const Value> in) const {
  const Value input = only_input(in);
  const int64_t used = groups == -1 ? builder.type(input).shape[-1] : groups;
  return build_norm(builder, input, NormOver::group, used, options);
}

}  // namespace lockstep
