#include "layers/flatten.h"

#include <algorithm>

#include "core/error.h"
#include "layers/check.h"

namespace lockstep {

std::vector<Type> FlattenOp::infer(std::span<const Type> in) const {
  expect_count(in, 1);
  const Shape& x = in[0].shape;
  if (x.rank() < 2) throw InputError("got {}, expected a batch of at least one dimension", in[0].str());
  return {{Shape{x[0], x.elements() / std::max<int64_t>(x[0], 1)}, in[0].dtype}};
}

std::vector<Value> FlattenOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  return {graph.add1(node.name + "/grad", std::make_shared<UnflattenOp>(graph.type(node.in[0]).shape), {dy[0]})};
}

std::vector<Type> UnflattenOp::infer(std::span<const Type> in) const {
  expect_count(in, 1);
  Shape shape = x;
  shape[0] = in[0].shape.rank() > 0 ? in[0].shape[0] : 0;
  if (shape.elements() != in[0].shape.elements())
    throw InputError("got {}, expected as many elements as {} has", in[0].str(), shape.str());
  return {{shape, in[0].dtype}};
}

Value Flatten::build(Builder& builder, std::span<const Value> in) const {
  return builder.add1("", std::make_shared<FlattenOp>(), {in.begin(), in.end()});
}

}  // namespace lockstep
