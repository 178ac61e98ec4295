// Pass: gives every value a placement on the mesh, following the inputs, and inserts reshards.
#pragma once

#include <map>

#include "core/graph.h"
#include "parallel/strategy.h"

namespace lockstep {

/// Along each mesh axis.
using Placements = std::vector<Placement>;

struct PlacedGraph {
  Graph graph;                        // logical types, with ReshardOp nodes
  std::vector<Type> local;            // by value id
  std::vector<Placements> placement;  // by value id
};

/// Where the sources lie and what must be replicated in the end. Sources default to Replicate.
struct PlacementRequest {
  std::map<int, Placements> sources;  // by value id of the unplaced graph
  std::vector<Value> replicated;      // values whose reshard to Replicate is wanted (gradients, loss, statistics)
};

/// For each node: the rule that its inputs' placements match exactly; else the first rule that they match once partial
/// sums are reduced; else everything replicated. Value ids of `graph` stay valid, reshards add new ones at the end.
/// `wanted` gets, for each of request.replicated, the value that holds the whole.
/// Throws InputError where a dimension does not divide by its axis.
PlacedGraph propagate(const Graph& graph, const Strategy& strategy, const PlacementRequest& request,
                      std::vector<Value>& wanted);

}  // namespace lockstep
