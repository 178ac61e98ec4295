#include "layers/add.h"

#include "core/error.h"
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

Value Add::build(Builder& builder, std::span<const Value> in) const {
  if (in.size() < 2)
    throw InputError("layer '{}': Add takes at least 2 inputs, {} were given", builder.layer(), in.size());
  Value sum = in[0];
  for (size_t i = 1; i < in.size(); ++i)
    sum = builder.add1(i == 1 ? "" : fmt::format("{}", i), std::make_shared<AddOp>(), {sum, in[i]});
  return sum;
}

}  // namespace lockstep
