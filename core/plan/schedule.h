// Pass: orders the nodes and says how often and on which stream each runs.
#pragma once

#include "core/graph.h"

namespace lockstep {

enum class When : unsigned char {
  EachLane,    // once for each of the rank's lanes
  LastLane,    // a collective: once a step, on the side stream, as soon as the last lane has made its inputs
  AfterLanes,  // once a step, reads what collectives made
};

struct Entry {
  int node = 0;
  When when = When::EachLane;
};

/// Keeps the graph's order, which is forward, then backward as autodiff emitted it, but runs a node that leads to a
/// collective, and the collective itself, as soon as its inputs are there: a reduction starts while backward goes on.
std::vector<Entry> schedule(const Graph& graph);

}  // namespace lockstep
