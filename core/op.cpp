#include "core/op.h"

#include "core/error.h"
#include "core/graph.h"

namespace lockstep {

std::vector<Value> Op::backward(Graph&, const Node& node, std::span<const Value>) const {
  throw Error("{}: operator {} has no gradient", node.name, name());
}

Interval Op::needs(int, Interval, int64_t) const { throw Error("operator {} has no windows", name()); }

}  // namespace lockstep
