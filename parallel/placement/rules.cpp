#include "parallel/placement/rules.h"

#include <set>

#include "core/error.h"
#include "parallel/collectives/reduce.h"
#include "parallel/collectives/reshard.h"

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
  // One row is no plane to share: what is computed of means over all pixels, as a squeeze-and-excitation is, stays
  // whole.
  const auto cuts_one = [&](const std::vector<Placement>& placements, const std::vector<Value>& values) {
    for (size_t k = 0; k < placements.size(); ++k)
      if (const auto [kind, dim] = placements[k];
          (kind == Placement::Kind::shard || kind == Placement::Kind::overlap) && (dim == 1 || dim == 2) &&
          rank(values[k]) == 4 && graph.type(values[k]).shape[dim] == 1)
        return true;
    return false;
  };
  std::erase_if(rules, [&](const Rule& rule) { return cuts_one(rule.in, node.in) || cuts_one(rule.out, node.out); });
  const auto number = [&](std::vector<Placement>& placements, const std::vector<Value>& values) {
    for (size_t k = 0; k < placements.size(); ++k)
      if (placements[k].kind == Placement::Kind::shard && placements[k].dim < 0) placements[k].dim += rank(values[k]);
  };
  for (Rule& rule : rules) {
    number(rule.in, node.in);
    number(rule.out, node.out);
  }
  return rules;
}

namespace {

/// Whether both would cut a value along one dimension.
bool clash(const Rule& a, const Rule& b) {
  const auto alike = [](const std::vector<Placement>& x, const std::vector<Placement>& y) {
    for (size_t k = 0; k < x.size(); ++k)
      if (x[k].dim >= 0 && x[k].dim == y[k].dim) return true;
    return false;
  };
  return alike(a.in, b.in) || alike(a.out, b.out);
}

}  // namespace

std::vector<Rule> rules_along(const Graph& graph, const Strategy& strategy, const Node& node, size_t axis) {
  std::vector<Rule> rules = rules_of(graph, node);
  if (axis == 0) return rules;
  for (size_t other = 1; other < strategy.mesh.size(); ++other) {
    const auto cut = strategy.cut(node.name, other);
    if (other == axis || !cut) continue;
    for (const Rule& named : rules)
      if (named.cut == *cut && cannot_share(graph, node, named, strategy.mesh[other]).empty())
        for (Rule& rule : rules)
          if (clash(rule, named)) rule.follows = false;
  }
  return rules;
}

Slices even_shares(const ValueInfo& info, const Axis& along, bool lanes, int dim) {
  const int64_t size = info.type.shape[dim];
  if (lanes && size % along.size != 0)
    throw InputError("'{}': dimension {} of {} does not divide by the {} members of mesh axis '{}'", info.name, dim,
                     info.type.str(), along.size, along.name);
  if (size < along.size)
    throw InputError(
        "mesh axis '{}' has {} members, but '{}' has {} element{} in dimension {} of {} to share; pin its layer to "
        "\"whole\" on that axis, or make the axis smaller",
        along.name, along.size, info.name, size, size == 1 ? "" : "s", dim, info.type.shape.str());
  return even_slices(size, along.size);
}

Value seen_through(const Node& node, const Rule& rule, int dim) {
  for (size_t k = 0; k < rule.out.size(); ++k)
    if (rule.out[k] == shard(dim)) return node.out[k];
  for (size_t k = 0; k < rule.in.size(); ++k)
    if (rule.in[k] == shard(dim)) return node.in[k];
  throw Error("{}: a rule with windows has no slices", node.name);
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

std::string cannot_share(const Graph& graph, const Node& node, const Rule& rule, const Axis& axis) {
  std::string why;
  if (rule.units % axis.size != 0) why = fmt::format("{} group{}", rule.units, rule.units == 1 ? "" : "s");
  const auto check = [&](const std::vector<Placement>& placements, const std::vector<Value>& values) {
    for (size_t k = 0; k < placements.size(); ++k) {
      const int dim = placements[k].dim;
      const Shape& shape = graph.type(values[k]).shape;
      if (placements[k].kind == Placement::Kind::shard && shape[dim] < axis.size)
        why = fmt::format("{} in dimension {} of {}", shape[dim], dim, shape.str());
    }
  };
  if (why.empty() && (rule.cut == Cut::filters || rule.cut == Cut::channels)) {
    check(rule.in, node.in);
    check(rule.out, node.out);
  }
  if (why.empty()) return why;
  return fmt::format("'{}' has {} to share among the {} members of mesh axis '{}'", node.name, why, axis.size,
                     axis.name);
}

bool cuts_rows(const Rule& rule) {
  return !rule.in.empty() && rule.in[0] == window(1) && rule.out.size() == 1 && rule.out[0] == shard(1);
}

Value before_halo(const Graph& graph, Value seen, size_t axis) {
  const int producer = graph.info(seen).producer;
  if (producer < 0) return {};
  const Node& node = graph.node(producer);
  const auto* halo = dynamic_cast<const ReshardOp*>(node.op.get());
  const bool rows = halo && halo->axis == static_cast<int>(axis) && halo->from.placement == shard(1);
  return rows ? node.in[0] : Value{};
}

}  // namespace lockstep
