#include "layers/activations/prelu.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "layers/base/check.h"

namespace lockstep {

namespace {

Shape alpha_shape(const Shape& x, int shared) {
  Shape alpha(x.dims().subspan(1));
  for (int d = 0; d < shared; ++d) alpha[d] = 1;
  return alpha;
}

void expect_input(const Type& x, int rank) {
  expect_float(x);
  if (x.shape.rank() != rank) throw InputError("got {}, expected {} dimensions", x.str(), rank);
}

/// rule(dimension of x, how alpha lies where x is cut so) for each dimension of a sample.
template <class Make>
void each_cut(int rank, int shared, Make make) {
  for (int dim = 1; dim < rank; ++dim) make(dim, dim <= shared ? replicate : shard(dim - 1));
}

}  // namespace

std::vector<Type> PreluOp::infer(std::span<const Type> in) const {
  expect_count(in, 2);
  expect_input(in[0], rank);
  expect_type(in[1], {alpha_shape(in[0].shape, shared)}, "alpha");
  return {in[0]};
}

std::vector<Rule> PreluOp::rules() const {
  std::vector<Rule> rules{{{shard(0), replicate}, {shard(0)}}};
  each_cut(rank, shared, [&](int dim, Placement alpha) { rules.push_back({{shard(dim), alpha}, {shard(dim)}}); });
  return rules;
}

std::vector<Value> PreluOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  return graph.add(node.name + "/grad", std::make_shared<PreluGradOp>(rank, shared), {node.in[0], node.in[1], dy[0]});
}

std::string PreluOp::attributes() const { return shared > 0 ? fmt::format("shared {}", shared) : ""; }

std::vector<Type> PreluGradOp::infer(std::span<const Type> in) const {
  expect_count(in, 3);
  expect_input(in[0], rank);
  expect_type(in[1], {alpha_shape(in[0].shape, shared)}, "alpha");
  expect_type(in[2], in[0], "dy");
  return {in[0], in[1]};
}

std::vector<Rule> PreluGradOp::rules() const {
  std::vector<Rule> rules{{{shard(0), replicate, shard(0)}, {shard(0), partial}}};
  each_cut(rank, shared, [&](int dim, Placement alpha) {
    rules.push_back({{shard(dim), alpha, shard(dim)}, {shard(dim), alpha == replicate ? partial : alpha}});
  });
  return rules;
}

void PReLU::describe(Fields& fields) {
  fields.field("shared_axes", shared_axes);
  fields.field("alpha_regularizer", alpha_regularizer);
}

Value PReLU::build(Builder& builder, std::span<const Value> in) const {
  const Value input = only_input(in);
  const Shape x = builder.type(input).shape;
  std::vector<int64_t> sorted = shared_axes, first(shared_axes.size());
  std::ranges::sort(sorted);
  std::iota(first.begin(), first.end(), 1);
  if (sorted != first || static_cast<int>(first.size()) >= x.rank())
    throw InputError("shared_axes [{}] for {}, expected the first axes after the batch, such as [1, 2]",
                     fmt::join(shared_axes, ", "), builder.type(input).str());
  const int shared = static_cast<int>(first.size());
  return builder.add1("", std::make_shared<PreluOp>(x.rank(), shared),
                      {input, builder.parameter("alpha", alpha_shape(x, shared), zeros, alpha_regularizer)});
}

}  // namespace lockstep
