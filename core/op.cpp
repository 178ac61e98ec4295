#include "core/op.h"

#include "core/error.h"
#include "core/graph.h"

namespace lockstep {

std::vector<Value> Op::backward(Graph&, const Node& node, std::span<const Value>) const {
  throw Error("{}: operator {} has no gradient", node.name, name());
}

}  // namespace lockstep
