// Pass: gives every value a placement on the mesh, following the inputs and obeying the strategy, and inserts reshards.
#pragma once

#include <map>

#include "core/graph/graph.h"
#include "core/graph/per_id.h"
#include "parallel/mesh/strategy.h"

namespace lockstep {

/// Along each mesh axis.
using Placements = std::vector<Placement>;

struct PlacedGraph {
  Graph graph;           // logical types, with ReshardOp and ReduceOp nodes; this rank's operators
  PerValue<Type> local;  // this rank's part
  PerValue<Placements> placement;
  PerValue<std::vector<Slices>> slices;  // by axis: empty where the placement does not cut
  std::vector<std::string> notes;        // where the strategy could not be followed

  /// Of the graph's newest value.
  void record(Type type, Placements placements, std::vector<Slices> cut) {
    local.push_back(std::move(type));
    placement.push_back(std::move(placements));
    slices.push_back(std::move(cut));
  }
};

struct PlacementRequest {
  /// By value of the unplaced graph. Parameters and states that are not here lie as the first node that reads them
  /// wants; other sources are replicated.
  std::map<Value, Placements> sources = {};
  /// Sums over the batch, which are reduced once a step: to lie as the variable `like` does, or whole where there is
  /// none. Their terms are added, or made one by `merge` (see reshard.h).
  struct Sum {
    Value value, like = {};
    std::shared_ptr<const Op> merge = nullptr;
  };
  std::vector<Sum> sums = {};
  /// Values that every member must hold whole.
  std::vector<Value> replicated = {};
  /// This rank's place along each axis but the first, whose members are all alike; empty where there is no other.
  std::vector<int64_t> coordinates = {};
};

/// For each node and axis: the rule that the strategy's cut names; else, of those that leave to the other axes what the
/// strategy's cuts name there, the first that its inputs' placements match, where a slice may grow to a window; else
/// the first they match once another dimension is cut; else everything replicated. Among those that match, one that
/// gives a gradient the placement of its primal comes first. Terms are reduced where they are made, but for `sums`. One
/// reshard of a value to a placement serves all readers on one stage. Value ids of `graph` stay valid, reshards add new
/// ones at the end. `ends` gets, for each of request.sums and then each of request.replicated, the value that holds it.
/// Throws InputError with axis, node and sizes where a dimension has fewer elements than its axis has members or, of
/// the lanes, does not divide by them; and where a pin names a cut that no operator of the layer has.
PlacedGraph propagate(const Graph& graph, const Strategy& strategy, const PlacementRequest& request,
                      std::vector<Value>& ends);

}  // namespace lockstep
