#include "core/plan/schedule.h"

#include <algorithm>
#include <tuple>

#include "core/graph/per_id.h"

namespace lockstep {

/// Where what a node reads also leads to a value that travels beside the kernels (a data gradient, beside the
/// weights'): the node that sends it, so that this one runs meanwhile; else 0.
static int exchange_after(const Graph& graph, int node) {
  const auto& read = graph.node(node).in;
  for (int k = node + 1; graph.has_node(k); ++k) {
    if (graph.node(k).op->queue() != Queue::exchange) continue;
    const int maker = graph.info(graph.node(k).in[0]).producer;
    if (maker <= node) continue;
    for (Value v : graph.node(maker).in)
      if (graph.info(v).producer >= 0 && std::ranges::find(read, v) != read.end()) return k;
  }
  return 0;
}

std::vector<Entry> schedule(const Graph& graph, bool phased) {
  const size_t count = graph.nodes().size();
  PerNode<When> when(count, When::each_lane);
  PerNode<char> collective_only(count);  // collectives, and what only they read
  for (int i = 0; graph.has_node(i); ++i) {
    const bool after =
        graph.node(i).section.phase == Phase::after_lanes || std::ranges::any_of(graph.node(i).in, [&](Value v) {
          const int producer = graph.info(v).producer;
          return producer >= 0 && when[producer] != When::each_lane;
        });
    if (after) when[i] = When::after_lanes;
    if (graph.node(i).op->collective()) {
      when[i] = When::last_lane;
      collective_only[i] = true;
    }
  }
  for (int i = static_cast<int>(count); i-- > 0;) {
    if (when[i] != When::each_lane || graph.node(i).out.empty()) continue;
    collective_only[i] = std::ranges::all_of(graph.node(i).out, [&](Value v) {
      const auto readers = graph.readers(v);
      return !readers.empty() && std::ranges::all_of(readers, [&](int r) { return graph.node(r).op->collective(); });
    });
  }

  // What only sums over the lanes read waits for an exchange that can be under way meanwhile.
  PerNode<int> behind(count);
  for (int i = 0; graph.has_node(i); ++i) {
    const bool ends_here =
        !graph.node(i).out.empty() && !collective_only[i] && std::ranges::all_of(graph.node(i).out, [&](Value v) {
          const auto readers = graph.readers(v);
          return !readers.empty() && std::ranges::all_of(readers, [&](int r) { return collective_only[r] != 0; });
        });
    if (ends_here && when[i] == When::each_lane) behind[i] = exchange_after(graph, i);
  }

  // A collective-only node has a due time: the position of the last ordinary node that it waits for.
  PerNode<int> due(count);
  for (int i = 0; graph.has_node(i); ++i) {
    due[i] = std::max(i, behind[i]);
    if (!collective_only[i]) continue;
    int last = 0;
    for (Value v : graph.node(i).in) {
      const int producer = graph.info(v).producer;
      if (producer >= 0) last = std::max(last, due[producer]);
    }
    due[i] = last;
  }
  std::vector<Entry> entries;
  for (int i = 0; graph.has_node(i); ++i)
    entries.push_back({i, when[i], phased ? graph.node(i).section.phase : Phase::forward});
  std::ranges::stable_sort(entries, {}, [&](const Entry& entry) {
    const int i = entry.node;
    return std::tuple(entry.when == When::after_lanes, entry.phase, due[i], collective_only[i] || behind[i] > 0);
  });
  return entries;
}

}  // namespace lockstep
