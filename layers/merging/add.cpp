#include "layers/merging/add.h"

#include "core/error.h"
#include "layers/activations/activation.h"
#include "layers/base/check.h"
#include "layers/merging/merge.h"

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

Value scaled(Builder& builder, std::string_view suffix, Value x, float by) {
  return builder.add1(suffix, std::make_shared<ActivationOp>(Curve{.kind = Curve::Kind::linear, .slope = by}), {x});
}

}  // namespace

Value Add::build(Builder& builder, std::span<const Value> in) const {
  return merge(builder, *this, in, std::make_shared<AddOp>());
}

Value Subtract::build(Builder& builder, std::span<const Value> in) const {
  if (in.size() != 2)
    throw InputError("layer '{}': Subtract takes 2 inputs, {} were given", builder.layer(), in.size());
  return builder.add1("", std::make_shared<AddOp>(), {in[0], scaled(builder, "negative", in[1], -1)});
}

Value Average::build(Builder& builder, std::span<const Value> in) const {
  return scaled(builder, "", merge(builder, *this, in, std::make_shared<AddOp>(), "sum"),
                1 / static_cast<float>(in.size()));
}

}  // namespace lockstep
