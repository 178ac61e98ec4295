#include "core/plan/synchronise.h"

#include <algorithm>

namespace lockstep {

namespace {

bool contains(const auto& all, const auto& one) { return std::ranges::find(all, one) != all.end(); }

void add_once(auto& all, const auto& one) {
  if (!contains(all, one)) all.push_back(one);
}

/// Whether a kernel of the same phase comes between the exchange at a position of the schedule and who waits for it.
bool overlaps_a_kernel(const Graph& graph, std::span<const Entry> order, size_t at) {
  const auto node_at = [&](size_t i) -> const Node& { return graph.node(order[i].node); };
  std::vector<Value> awaited = node_at(at).out;
  for (size_t next = at + 1; next < order.size() && order[next].phase == order[at].phase; ++next) {
    const Node& node = node_at(next);
    const bool waits = std::ranges::any_of(node.in, [&](Value v) { return contains(awaited, v); });
    if (node.op->queue() != Queue::exchange && node.op->reuse() != Reuse::view) return !waits;
    if (waits) awaited.insert(awaited.end(), node.out.begin(), node.out.end());
  }
  return true;
}

}  // namespace

Synchronisation synchronise(const Graph& graph, std::span<const Entry> order) {
  Synchronisation sync;
  sync.nodes = PerNode<NodeSync>(graph.nodes().size());
  const auto node_of = [&](int index) -> const Node& { return graph.node(index); };
  for (size_t at = 0; at < order.size(); ++at) {
    NodeSync& node = sync.nodes[order[at].node];
    node.queue = node_of(order[at].node).op->queue();
    if (node.queue != Queue::exchange || overlaps_a_kernel(graph, order, at)) continue;
    node.queue = Queue::compute;
    node.after_exchanges = true;
  }
  for (const Entry& entry : order) {
    const Node& node = node_of(entry.node);
    NodeSync& own = sync.nodes[entry.node];
    for (Value v : node.in)
      if (const int producer = graph.info(v).producer; producer >= 0 && sync.nodes[producer].beside())
        add_once(own.read_after_write, producer);
    if (own.beside()) {
      add_once(sync.at_end, own.queue);
      const bool read = std::ranges::any_of(node.out, [&](Value v) { return !graph.readers(v).empty(); });
      if (own.queue == Queue::exchange && !read) sync.dangling.push_back(entry.node);
      continue;
    }
    for (Value v : node.out)
      for (const int reader : graph.readers(v))
        if (leaves(*node_of(reader).op)) add_once(own.write_after_read, reader);
  }
  std::ranges::sort(sync.at_end);
  // What nodes exchange after the lanes must not meet what a stage still sends.
  std::ranges::copy_if(sync.at_end, std::back_inserter(sync.before_update), [](Queue q) { return q != Queue::side; });
  return sync;
}

}  // namespace lockstep
