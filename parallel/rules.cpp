#include "parallel/rules.h"

namespace lockstep {

std::vector<Rule> rules_of(const Graph& graph, const Node& node) {
  std::vector<Rule> rules = node.op->rules();
  const auto rank = [&](Value v) { return graph.type(v).shape.rank(); };
  std::erase_if(rules, [&](const Rule& rule) {
    return (rule.cut == Cut::height || rule.cut == Cut::width) && (node.out.empty() || rank(node.out[0]) != 4);
  });
  const auto number = [&](std::vector<Placement>& placements, const std::vector<Value>& values) {
    for (size_t k = 0; k < placements.size(); ++k)
      if (placements[k].kind == Placement::Kind::Shard && placements[k].dim < 0) placements[k].dim += rank(values[k]);
  };
  for (Rule& rule : rules) {
    number(rule.in, node.in);
    number(rule.out, node.out);
  }
  return rules;
}

}  // namespace lockstep
