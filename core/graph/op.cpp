#include "core/graph/op.h"

#include "core/error.h"
#include "core/graph/graph.h"

namespace lockstep {

std::vector<Value> Op::backward(Graph&, const Node& node, std::span<const Value>) const {
  throw Error("{}: operator {} has no gradient", node.name, name());
}

Interval Op::needs(int, Interval, int64_t) const { throw Error("operator {} has no windows", name()); }

double Op::bytes(const Signature& signature) const {
  double sum = 0;
  for (const auto* types : {&signature.in, &signature.out})
    for (const Type& type : *types) sum += static_cast<double>(type.bytes());
  return sum;
}

double product_flops(const Type& weights, const Type& output) {
  return 2 * static_cast<double>(weights.shape.elements()) * static_cast<double>(output.shape.elements()) /
         static_cast<double>(output.shape[-1]);
}

}  // namespace lockstep
