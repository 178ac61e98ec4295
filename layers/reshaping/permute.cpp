#include "layers/reshaping/permute.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "layers/base/check.h"

namespace lockstep {

std::vector<Type> PermuteOp::infer(std::span<const Type> in) const {
  expect_count(in, 1);
  expect_float(in[0]);
  if (in[0].shape.rank() != static_cast<int>(order.size()))
    throw InputError("got {}, expected {} dimensions", in[0].str(), order.size());
  Type y = in[0];
  for (size_t i = 0; i < order.size(); ++i) y.shape[static_cast<int>(i)] = in[0].shape[order[i]];
  return {y};
}

std::vector<Rule> PermuteOp::rules() const {
  std::vector<Rule> rules;
  for (size_t i = 0; i < order.size(); ++i) rules.push_back({{shard(order[i])}, {shard(static_cast<int>(i))}});
  return rules;
}

std::vector<Value> PermuteOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  std::vector<int> back(order.size());
  for (size_t i = 0; i < order.size(); ++i) back[static_cast<size_t>(order[i])] = static_cast<int>(i);
  return {graph.add1(node.name + "/grad", std::make_shared<PermuteOp>(back), {dy[0]})};
}

std::string PermuteOp::attributes() const { return fmt::format("{}", fmt::join(order, " ")); }

std::vector<int64_t> PermuteOp::strides(const Shape& x) const {
  std::vector<int64_t> of_input(order.size(), 1), of_output;
  for (size_t i = order.size() - 1; i > 0; --i) of_input[i - 1] = of_input[i] * x[static_cast<int>(i)];
  for (const int dim : order) of_output.push_back(of_input[static_cast<size_t>(dim)]);
  return of_output;
}

Value Permute::build(Builder& builder, std::span<const Value> in) const {
  const Value input = only_input(in);
  const Shape x = builder.type(input).shape;
  std::vector<int64_t> all(static_cast<size_t>(x.rank() - 1)), sorted = dims;
  std::iota(all.begin(), all.end(), 1);
  std::ranges::sort(sorted);
  if (sorted != all)
    throw InputError("dims [{}] for samples of {}, expected each of 1 to {} once", fmt::join(dims, ", "),
                     Shape(x.dims().subspan(1)).str(), all.size());
  std::vector<int> order{0};
  for (const int64_t dim : dims) order.push_back(static_cast<int>(dim));
  return builder.add1("", std::make_shared<PermuteOp>(order), {input});
}

}  // namespace lockstep
