#include "core/plan/schedule.h"

#include <algorithm>
#include <tuple>

namespace lockstep {

/// Where what a node reads also leads to a value that travels beside the kernels (a data gradient, beside the
/// weights'): the node that sends it, so that this one runs meanwhile; else 0.
static int exchange_after(const Graph& graph, size_t node) {
  const auto& nodes = graph.nodes();
  for (size_t k = node + 1; k < nodes.size(); ++k) {
    if (nodes[k].op->queue() != Queue::Exchange) continue;
    const int maker = graph.info(nodes[k].in[0]).producer;
    if (maker <= static_cast<int>(node)) continue;
    for (Value v : nodes[static_cast<size_t>(maker)].in)
      if (graph.info(v).producer >= 0 && std::ranges::find(nodes[node].in, v) != nodes[node].in.end())
        return static_cast<int>(k);
  }
  return 0;
}

std::vector<Entry> schedule(const Graph& graph, bool phased) {
  const auto& nodes = graph.nodes();
  std::vector<When> when(nodes.size(), When::EachLane);
  std::vector<bool> collective_only(nodes.size());  // collectives, and what only they read
  for (size_t i = 0; i < nodes.size(); ++i) {
    const bool after = nodes[i].section.phase == Phase::AfterLanes || std::ranges::any_of(nodes[i].in, [&](Value v) {
                         const int producer = graph.info(v).producer;
                         return producer >= 0 && when[static_cast<size_t>(producer)] != When::EachLane;
                       });
    if (after) when[i] = When::AfterLanes;
    if (nodes[i].op->collective()) {
      when[i] = When::LastLane;
      collective_only[i] = true;
    }
  }
  for (size_t i = nodes.size(); i-- > 0;) {
    if (when[i] != When::EachLane || nodes[i].out.empty()) continue;
    collective_only[i] = std::ranges::all_of(nodes[i].out, [&](Value v) {
      const auto readers = graph.readers(v);
      return !readers.empty() &&
             std::ranges::all_of(readers, [&](int r) { return nodes[static_cast<size_t>(r)].op->collective(); });
    });
  }

  // What only sums over the lanes read waits for an exchange that can be under way meanwhile.
  std::vector<int> behind(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    const bool ends_here =
        !nodes[i].out.empty() && !collective_only[i] && std::ranges::all_of(nodes[i].out, [&](Value v) {
          const auto readers = graph.readers(v);
          return !readers.empty() &&
                 std::ranges::all_of(readers, [&](int r) { return collective_only[static_cast<size_t>(r)]; });
        });
    if (ends_here && when[i] == When::EachLane) behind[i] = exchange_after(graph, i);
  }

  // A collective-only node has a due time: the position of the last ordinary node that it waits for.
  std::vector<int> due(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    due[i] = std::max(static_cast<int>(i), behind[i]);
    if (!collective_only[i]) continue;
    int last = 0;
    for (Value v : nodes[i].in) {
      const int producer = graph.info(v).producer;
      if (producer >= 0) last = std::max(last, due[static_cast<size_t>(producer)]);
    }
    due[i] = last;
  }
  std::vector<Entry> entries;
  for (size_t i = 0; i < nodes.size(); ++i)
    entries.push_back({static_cast<int>(i), when[i], phased ? nodes[i].section.phase : Phase::Forward});
  std::ranges::stable_sort(entries, {}, [&](const Entry& entry) {
    const auto i = static_cast<size_t>(entry.node);
    return std::tuple(entry.when == When::AfterLanes, entry.phase, due[i], collective_only[i] || behind[i] > 0);
  });
  return entries;
}

}  // namespace lockstep
