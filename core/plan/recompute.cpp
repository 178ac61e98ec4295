#include "core/plan/recompute.h"

#include <map>

namespace lockstep {

void recompute(Graph& graph, size_t forward, const std::function<bool(const std::string& node)>& recomputed) {
  Graph out = graph.without_nodes();
  std::map<Value, Value> copies;
  // The value as backward reads it, whose nodes are added first.
  std::function<Value(Value, int)> copy = [&](Value value, int stage) {
    const int producer = graph.info(value).producer;
    if (producer < 0 || static_cast<size_t>(producer) >= forward || graph.stage_of(value, 0) != stage) return value;
    if (const auto known = copies.find(value); known != copies.end()) return known->second;
    const Node& node = graph.node(producer);
    if (!recomputed(node.name)) return value;
    std::vector<Value> in;
    for (Value v : node.in) in.push_back(copy(v, stage));
    out.set_section({stage, Phase::backward});
    const std::vector<Value> made = out.add(node.name + "/recomputed", node.op, in);
    for (size_t k = 0; k < made.size(); ++k) copies[node.out[k]] = made[k];
    return copies.at(value);
  };
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    Node node = graph.nodes()[i];
    if (i >= forward)
      for (Value& v : node.in) v = copy(v, node.section.stage);
    out.append(std::move(node));
  }
  out.set_section({});
  graph = std::move(out);
}

}  // namespace lockstep
