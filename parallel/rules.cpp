#include "parallel/rules.h"

#include <set>

#include "core/error.h"

namespace lockstep {

std::vector<Rule> rules_of(const Graph& graph, const Node& node) {
  std::vector<Rule> rules = node.op->rules();
  const auto rank = [&](Value v) { return graph.type(v).shape.rank(); };
  std::erase_if(rules, [&](const Rule& rule) {
    return (rule.cut == Cut::height || rule.cut == Cut::width) && (node.out.empty() || rank(node.out[0]) != 4);
  });
  const auto beyond = [&](const std::vector<Placement>& placements, const std::vector<Value>& values) {
    for (size_t k = 0; k < placements.size(); ++k)
      if (placements[k].dim >= rank(values[k])) return true;
    return false;
  };
  std::erase_if(rules, [&](const Rule& rule) { return beyond(rule.in, node.in) || beyond(rule.out, node.out); });
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

void check_cuts(const Graph& graph, const Strategy& strategy, const Node& node, const std::vector<Rule>& rules) {
  const auto check = [&](const std::vector<Value>& values, std::vector<Placement> Rule::*side) {
    for (size_t k = 0; k < values.size(); ++k)
      for (size_t a = 0; a < rules.size(); ++a)
        for (size_t b = a + 1; b < rules.size(); ++b)
          if (const int dim = (rules[a].*side)[k].dim; dim >= 0 && dim == (rules[b].*side)[k].dim)
            throw InputError("'{}' would be cut along dimension {} by two mesh axes, '{}' and '{}' (for '{}')",
                             graph.info(values[k]).name, dim, strategy.mesh[a].name, strategy.mesh[b].name, node.name);
  };
  check(node.in, &Rule::in);
  check(node.out, &Rule::out);
}

void refuse_unused(const Graph& graph, const Strategy& strategy, const Pin& pin, size_t axis) {
  const std::string& name = strategy.mesh[axis].name;
  const auto cut = pin.place.at(name);
  if (!cut) return;
  std::set<std::string> known;
  for (const Node& node : graph.nodes())
    if (matches(pin.layers, node.name))
      for (const Rule& rule : rules_of(graph, node))
        if (rule.cut != Cut::batch) known.insert(cut_names()[static_cast<size_t>(rule.cut)]);
  throw InputError(
      "pin '{}': no operator there can be cut by {} (axis '{}'); {}", pin.layers,
      cut_names()[static_cast<size_t>(*cut)], name,
      known.empty() ? "they follow the layers before them" : fmt::format("what they can: {}", fmt::join(known, ", ")));
}

}  // namespace lockstep
