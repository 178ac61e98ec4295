// An operator's placement rules for the values of one node. Pure functions: any thread.
#pragma once

#include <vector>

#include "core/graph.h"

namespace lockstep {

/// Those that the ranks of the node's values allow, with their last dimensions by number.
std::vector<Rule> rules_of(const Graph& graph, const Node& node);

}  // namespace lockstep
