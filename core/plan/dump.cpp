#include "core/plan/dump.h"

#include <fmt/ranges.h>

namespace lockstep {

namespace {

constexpr std::array<std::string_view, region_count> region_names = {
    "arena",     "lane input", "output", "step input", "parameters", "state",
    "optimizer", "sums",       "totals", "packed",     "stash"};

constexpr std::array<std::string_view, queue_count> queue_names = {"compute", "side", "forward", "backward",
                                                                   "exchange"};

std::string operator_text(const Node& node) {
  const std::string attributes = node.op->attributes();
  return attributes.empty() ? std::string(node.op->name()) : fmt::format("{} {}", node.op->name(), attributes);
}

std::string_view when_text(When when) {
  switch (when) {
    case When::each_lane:
      return "lane";
    case When::last_lane:
      return "reduce";
    case When::after_lanes:
      return "step";
  }
  return "?";
}

}  // namespace

std::string dump(const Graph& graph) {
  std::string text;
  for (const Node& node : graph.nodes()) {
    std::vector<std::string> in, out;
    for (Value v : node.in) in.push_back(graph.info(v).name);
    for (Value v : node.out) out.push_back(graph.type(v).str());
    text += fmt::format("{:<36} {:<40} ({}) -> {}\n", node.name, operator_text(node), fmt::join(in, ", "),
                        fmt::join(out, ", "));
  }
  return text;
}

std::string dump(const StepPlan& plan) {
  std::string text =
      fmt::format("{:<7} {:<36} {:<40} {}\n", "runs", "node", "operator", "outputs: local type, placement, place");
  for (const Entry& entry : plan.order) {
    const Node& node = plan.graph.node(entry.node);
    std::vector<std::string> out;
    for (Value v : node.out) {
      std::string placed;
      for (const Placement& p : plan.placement[v]) placed += p.str();
      const Location& at = plan.memory.values[v];
      out.push_back(fmt::format("{} {} {}+{}", plan.local[v].str(), placed,
                                region_names[static_cast<size_t>(at.region)], at.offset));
    }
    text += fmt::format("{:<7} {:<36} {:<40} {}\n", when_text(entry.when), node.name, operator_text(node),
                        fmt::join(out, "; "));
  }
  text += fmt::format("\nmemory of one rank ({} lanes, {} slots of sums):\n", plan.lanes, slot_count(plan.lanes));
  for (size_t i = 0; i < region_count; ++i)
    if (plan.memory.bytes[i]) text += fmt::format("  {:<12} {:>14} bytes\n", region_names[i], plan.memory.bytes[i]);
  return text;
}

std::string dump(const Graph& graph, std::span<const Entry> order, const Synchronisation& sync) {
  const auto name = [&](int node) { return graph.node(node).name; };
  const auto stream = [](Queue queue) { return queue_names[static_cast<size_t>(queue)]; };
  std::string text = fmt::format("{:<9} {:<7} {:<36} {}\n", "stream", "runs", "node", "waits for");
  for (const Entry& entry : order) {
    const NodeSync& node = sync.nodes[entry.node];
    std::vector<std::string> waits;
    if (node.beside()) waits.emplace_back("the kernels before it");
    if (node.after_exchanges) waits.emplace_back("the exchanges before it");
    for (int maker : node.read_after_write) waits.push_back(name(maker) + " (read after write)");
    for (int sender : node.write_after_read) waits.push_back(name(sender) + " (write after read)");
    text += fmt::format("{:<9} {:<7} {:<36} {}\n", stream(node.queue), when_text(entry.when), name(entry.node),
                        fmt::join(waits, ", "));
  }
  const auto add = [&](std::string_view what, const std::vector<std::string>& waits) {
    if (!waits.empty()) text += fmt::format("{} waits for: {}\n", what, fmt::join(waits, ", "));
  };
  std::vector<std::string> dangling, before_update, at_end;
  for (int exchange : sync.dangling) dangling.push_back(name(exchange));
  for (Queue queue : sync.before_update) before_update.emplace_back(stream(queue));
  for (Queue queue : sync.at_end) at_end.emplace_back(stream(queue));
  text += "\n";
  add("the end of a lane's turn", dangling);
  add("what runs after the lanes", before_update);
  add("the end of the step", at_end);
  return text;
}

}  // namespace lockstep
