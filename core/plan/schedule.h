// Pass: orders the nodes and says how often and on which stream each runs.
#pragma once

#include "core/graph/graph.h"

namespace lockstep {

enum class When : unsigned char {
  each_lane,    // once for each of the rank's lanes
  last_lane,    // a collective: once a step, on the side stream, as soon as the last lane has made its inputs
  after_lanes,  // once a step, reads what collectives made
};

struct Entry {
  int node = 0;
  When when = When::each_lane;
  Phase phase = Phase::forward;  // of a lane's entries, where forward and backward have turns of their own
};

/// A lane's turn: the entries of one phase, run for it.
struct Turn {
  int lane = 0;
  Phase phase = Phase::forward;
};

/// Keeps the graph's order, which is forward, then backward as autodiff emitted it, but runs a node that leads to a
/// collective, and the collective itself, as soon as its inputs are there: a reduction starts while backward goes on.
/// With `phased`, all of forward comes before all of backward; else a lane's turn is the whole of its work.
std::vector<Entry> schedule(const Graph& graph, bool phased = false);

}  // namespace lockstep
