#include "layers/reshaping/flatten.h"

#include <algorithm>

#include "core/error.h"
#include "layers/base/check.h"

namespace lockstep {

namespace {

/// Of both: a sample of shape `x` begins with its first rows, flat or not. Slices of rows are slices of the features
/// where the members have equally many rows.
std::vector<Rule> rules_for(const Shape& x) {
  std::vector<Rule> rules{{{shard(0)}, {shard(0)}}};
  if (x.rank() > 1) rules.push_back({.in = {shard(1)}, .out = {shard(1)}, .units = x.rank() == 2 ? 0 : x[1]});
  return rules;
}

}  // namespace

std::vector<Type> FlattenOp::infer(std::span<const Type> in) const {
  expect_count(in, 1);
  const Shape& x = in[0].shape;
  if (x.rank() < 2) throw InputError("got {}, expected a batch of at least one dimension", in[0].str());
  return {{Shape{x[0], x.elements() / std::max<int64_t>(x[0], 1)}, in[0].dtype}};
}

std::vector<Rule> FlattenOp::rules() const { return rules_for(x); }

std::vector<Value> FlattenOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  return {graph.add1(node.name + "/grad", std::make_shared<UnflattenOp>(x), {dy[0]})};
}

std::vector<Type> UnflattenOp::infer(std::span<const Type> in) const {
  expect_count(in, 1);
  Shape shape = x;
  shape[0] = in[0].shape.rank() > 0 ? in[0].shape[0] : 0;
  if (shape.elements() != in[0].shape.elements())
    throw InputError("got {}, expected as many elements as {} has", in[0].str(), shape.str());
  return {{shape, in[0].dtype}};
}

std::vector<Rule> UnflattenOp::rules() const { return rules_for(x); }

Op::Local UnflattenOp::local(const Part& part) const {
  Shape shape = x;
  shape[part.rule.out[0].dim] = part.out[0].size();
  return {std::make_shared<UnflattenOp>(shape)};
}

Value Flatten::build(Builder& builder, std::span<const Value> in) const {
  const Value input = only_input(in);
  return builder.add1("", std::make_shared<FlattenOp>(builder.type(input).shape), {input});
}

}  // namespace lockstep
