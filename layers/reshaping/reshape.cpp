#include "layers/reshaping/reshape.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"
#include "layers/base/check.h"

namespace lockstep {

namespace {

/// [N, …] with the batch of another.
Shape with_batch(Shape shape, const Shape& of) {
  shape[0] = of.rank() > 0 ? of[0] : 0;
  return shape;
}

}  // namespace

std::vector<Type> ReshapeOp::infer(std::span<const Type> in) const {
  expect_count(in, 1);
  expect_type(in[0], {with_batch(from, in[0].shape), in[0].dtype}, "the input");
  return {{with_batch(to, in[0].shape), in[0].dtype}};
}

std::vector<Rule> ReshapeOp::rules() const {
  std::vector<Rule> rules{batch_rule(1)};
  // Where the channels stay what they are, so do slices of them: [N,1,1,C] as [N,C], of which neither has pixels.
  if (from[-1] == to[-1] && from.elements() == from[0] * from[-1]) rules.push_back({{shard(-1)}, {shard(-1)}});
  return rules;
}

Op::Local ReshapeOp::local(const Part& part) const {
  if (part.rule.out[0].dim == 0) return {};
  Shape x = from, y = to;
  x[-1] = y[-1] = part.out[0].size();
  return {std::make_shared<ReshapeOp>(x, y)};
}

std::vector<Value> ReshapeOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  return {graph.add1(node.name + "/grad", std::make_shared<ReshapeOp>(to, from), {dy[0]})};
}

Value Reshape::build(Builder& builder, std::span<const Value> in) const {
  const Value input = only_input(in);
  const Shape x = builder.type(input).shape;
  std::vector<int64_t> dims{x[0]};
  dims.insert(dims.end(), target_shape.begin(), target_shape.end());
  const auto refuse = [&](const char* why) {
    throw InputError("target_shape [{}] for samples of {}: {}", fmt::join(target_shape, ", "),
                     Shape(x.dims().subspan(1)).str(), why);
  };
  if (target_shape.empty() || dims.size() > Shape::max_rank) refuse("expected 1 to 5 dimensions");
  int64_t known = 1;
  for (const int64_t dim : target_shape) {
    if (dim == 0 || dim < -1) refuse("expected dimensions above 0, or one -1");
    if (dim > 0 && __builtin_mul_overflow(known, dim, &known)) refuse("that is more than 64 bits can count");
  }
  const auto open = std::ranges::count(target_shape, -1);
  const int64_t elements = x.elements() / x[0];
  if (open > 1) refuse("expected at most one -1");
  if (open == 1 ? elements % known != 0 : elements != known) refuse("the numbers of elements differ");
  std::ranges::replace(dims, -1, elements / known);
  const Shape to{std::span<const int64_t>(dims)};
  return builder.add1("", std::make_shared<ReshapeOp>(x, to), {input});
}

}  // namespace lockstep
