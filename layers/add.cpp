#include "layers/add.h"

#include "core/error.h"
#include "layers/activation.h"
#include "layers/check.h"

namespace lockstep {

std::vector<Type> AddOp::infer(std::span<const Type> in) const {
  expect_count(in, 2);
  expect_float(in[0]);
  expect_type(in[1], in[0], "the second input");
  return {in[0]};
}

std::vector<Rule> AddOp::rules() const {
  auto rules = elementwise_rules(2);
  rules.push_back({{partial, partial}, {partial}});  // a sum of terms is a term of the sum
  return rules;
}

std::vector<Value> AddOp::backward(Graph&, const Node&, std::span<const Value> dy) const { return {dy[0], dy[0]}; }

namespace {

/// The sum of `in`, in nodes with the suffixes `suffix`, `suffix`2, …
Value sum_of(Builder& builder, std::string_view type, std::span<const Value> in, const std::string& suffix) {
  if (in.size() < 2)
    throw InputError("layer '{}': {} takes at least 2 inputs, {} were given", builder.layer(), type, in.size());
  Value sum = in[0];
  for (size_t i = 1; i < in.size(); ++i)
    sum = builder.add1(i == 1 ? suffix : fmt::format("{}{}", suffix, i), std::make_shared<AddOp>(), {sum, in[i]});
  return sum;
}

Value scaled(Builder& builder, std::string_view suffix, Value x, float by) {
  return builder.add1(suffix, std::make_shared<ActivationOp>(Curve{.kind = Curve::Kind::linear, .slope = by}), {x});
}

}  // namespace

Value Add::build(Builder& builder, std::span<const Value> in) const { return sum_of(builder, type(), in, ""); }

Value Subtract::build(Builder& builder, std::span<const Value> in) const {
  if (in.size() != 2)
    throw InputError("layer '{}': Subtract takes 2 inputs, {} were given", builder.layer(), in.size());
  return builder.add1("", std::make_shared<AddOp>(), {in[0], scaled(builder, "negative", in[1], -1)});
}

Value Average::build(Builder& builder, std::span<const Value> in) const {
  return scaled(builder, "", sum_of(builder, type(), in, "sum"), 1 / static_cast<float>(in.size()));
}

}  // namespace lockstep
