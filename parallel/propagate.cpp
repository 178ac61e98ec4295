#include "parallel/propagate.h"

#include <algorithm>

#include "parallel/reshard.h"

namespace lockstep {

namespace {

class Propagation {
 public:
  Propagation(const Graph& graph, const Strategy& strategy) : strategy_(strategy) {
    placed_.graph = graph;
    placed_.placement.resize(graph.values().size(), Placements(strategy.mesh.size()));
  }

  void source(int id, const Placements& placements) { placed_.placement[static_cast<size_t>(id)] = placements; }

  /// Chooses a rule for the node along each axis and reshards its inputs to match.
  void node(const Node& original, Graph& out) {
    const size_t axes = strategy_.mesh.size();
    Node placed = original;
    for (size_t axis = 0; axis < axes; ++axis) {
      std::vector<Placement> in;
      for (Value v : placed.in) in.push_back(at(v)[axis]);
      const Rule rule = choose(*original.op, in, original.out.size());
      for (size_t k = 0; k < in.size(); ++k)
        if (!(in[k] == rule.in[k])) placed.in[k] = reshard(out, placed.in[k], axis, rule.in[k]);
      for (size_t k = 0; k < placed.out.size(); ++k) at(placed.out[k])[axis] = rule.out[k];
    }
    out.append(std::move(placed));
  }

  /// One reshard a value and target, however many readers there are.
  Value reshard(Graph& out, Value value, size_t axis, Placement to) {
    const Placement from = at(value)[axis];
    if (from == to) return value;
    const auto key = std::tuple(value.id, axis, to.kind, to.dim);
    if (const auto known = reshards_.find(key); known != reshards_.end()) return known->second;
    const auto op = std::make_shared<const ReshardOp>(static_cast<int>(axis), from, to);
    const Value result = out.add1(out.info(value).name + "/" + op->attributes(), op, {value});
    placed_.placement.push_back(at(value));
    at(result)[axis] = to;
    reshards_[key] = result;
    return result;
  }

  PlacedGraph finish(Graph graph) {
    placed_.graph = std::move(graph);
    for (size_t v = 0; v < placed_.graph.values().size(); ++v) placed_.local.push_back(local_type(v));
    return std::move(placed_);
  }

 private:
  Placements& at(Value v) { return placed_.placement[static_cast<size_t>(v.id)]; }

  static Rule choose(const Op& op, const std::vector<Placement>& in, size_t outputs) {
    Rule everything{std::vector<Placement>(in.size()), std::vector<Placement>(outputs)};
    if (in == everything.in) return everything;
    auto rules = op.rules();
    for (const Rule& rule : rules)
      if (rule.in == in) return rule;
    for (const Rule& rule : rules) {
      bool fits = rule.in.size() == in.size();
      for (size_t k = 0; fits && k < in.size(); ++k)
        fits = rule.in[k] == in[k] || (in[k] == partial && rule.in[k] == replicate);
      if (fits) return rule;
    }
    return everything;
  }

  Type local_type(size_t v) const {
    const ValueInfo& info = placed_.graph.values()[v];
    Type type = info.type;
    for (size_t axis = 0; axis < strategy_.mesh.size(); ++axis) {
      const Placement p = placed_.placement[v][axis];
      if (p.kind != Placement::Kind::Shard) continue;
      const auto& [name, size] = strategy_.mesh[axis];
      if (type.shape[p.dim] % size != 0)
        throw InputError("'{}': dimension {} of {} does not divide by the {} members of mesh axis '{}'", info.name,
                         p.dim, info.type.str(), size, name);
      type.shape[p.dim] /= size;
    }
    return type;
  }

  const Strategy& strategy_;
  PlacedGraph placed_;
  std::map<std::tuple<int, size_t, Placement::Kind, int>, Value> reshards_;
};

}  // namespace

PlacedGraph propagate(const Graph& graph, const Strategy& strategy, const PlacementRequest& request,
                      std::vector<Value>& wanted) {
  Propagation propagation(graph, strategy);
  for (const auto& [id, placements] : request.sources) propagation.source(id, placements);
  Graph out = graph.without_nodes();
  for (const Node& node : graph.nodes()) propagation.node(node, out);
  wanted.clear();
  for (Value value : request.replicated) {
    for (size_t axis = 0; axis < strategy.mesh.size(); ++axis) value = propagation.reshard(out, value, axis, replicate);
    wanted.push_back(value);
  }
  return propagation.finish(std::move(out));
}

}  // namespace lockstep
