#include "parallel/placement/propagate.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "core/error.h"
#include "parallel/collectives/reduce.h"
#include "parallel/collectives/reshard.h"
#include "parallel/placement/rows.h"
#include "parallel/placement/rules.h"

namespace lockstep {
namespace {

using Kind = Placement::Kind;

class Propagation {
 public:
  Propagation(const Graph& graph, const Strategy& strategy, const PlacementRequest& request)
      : original_(graph), strategy_(strategy), request_(request), out_(graph.without_nodes()) {
    const size_t values = graph.values().size(), axes = strategy.mesh.size();
    placed_.placement = {values, Placements(axes)};
    placed_.slices = {values, std::vector<Slices>(axes)};
    free_ = {values, std::vector<bool>(axes)};
    for (Value v{0}; graph.has(v); ++v.id) {
      current_.push_back(v);
      const ValueInfo& info = graph.info(v);
      const Role role = info.role;
      const bool adopts = role == Role::parameter || role == Role::state || role == Role::lane_input;
      for (size_t axis = 0; axis < axes; ++axis) free_[v][axis] = adopts && info.producer < 0 && axis > 0;
    }
    for (const auto& [value, placements] : request.sources)
      for (size_t axis = 0; axis < placements.size(); ++axis) place(value, axis, placements[axis]);
    for (const auto& sum : request.sums) sums_.insert(sum.value);
  }

  void node(const Node& original) {
    Node placed = original;
    out_.set_section(original.section);
    for (Value& v : placed.in) v = current(v);
    std::vector<Rule> rules;
    for (size_t axis = 0; axis < axes(); ++axis) rules.push_back(choose(original, placed, rules));
    check_cuts(original_, strategy_, original, rules);
    for (size_t k = 0; k < placed.in.size(); ++k) bring(original, rules, k, placed.in[k]);
    std::vector<Op::Part> parts;
    for (size_t axis = 0; axis < axes(); ++axis) parts.push_back(make(original, rules[axis], placed, axis));
    const Op::Local local = localise(original.op, parts);
    placed.op = local.op;
    placed.in.resize(placed.in.size() - local.without);
    for (size_t axis = 1; axis < axes(); ++axis) overlap(original, parts, axis, placed);
    const std::vector<Value> made = placed.out;
    out_.append(std::move(placed));
    for (Value value : made) reduce_terms(value);
  }

  PlacedGraph finish(std::vector<Value>& ends) {
    for (const auto& used : seen_pins_)
      if (!used_pins_.contains(used)) refuse_unused(original_, strategy_, *used.first, used.second);
    for (size_t axis = 1; axis < axes(); ++axis) note_idle(axis);
    ends.clear();
    const auto enter = [&](Value value) {  // to the section that makes it
      if (const int producer = original_.info(value).producer; producer >= 0)
        out_.set_section(original_.node(producer).section);
      return current(value);
    };
    for (const auto& [value, like, merge] : request_.sums) ends.push_back(reduced(enter(value), like, merge));
    for (Value value : request_.replicated) {
      value = enter(value);
      for (size_t axis = 1; axis < axes(); ++axis) value = reshard(value, axis, replicate, {});
      ends.push_back(value);
    }
    out_.set_section({});
    for (Value v{0}; out_.has(v); ++v.id) placed_.local.push_back(local_type(v));
    placed_.graph = std::move(out_);
    return std::move(placed_);
  }

 private:
  size_t axes() const { return strategy_.mesh.size(); }
  Placement& at(Value v, size_t axis) { return placed_.placement[v][axis]; }
  Slices& slices(Value v, size_t axis) { return placed_.slices[v][axis]; }
  Value current(Value v) const { return current_[v]; }
  int64_t member(size_t axis) const { return axis == 0 ? 0 : request_.coordinates.at(axis - 1); }
  const Type& logical(Value v) const { return out_.type(v); }

  void place(Value v, size_t axis, Placement placement) {
    at(v, axis) = placement;
    slices(v, axis) = placement.kind == Kind::shard ? shares(v, axis, placement.dim) : Slices{};
    free_[v][axis] = false;
  }

  /// A source comes to lie as its first reader wants it; of what is fed, rows and columns alone can be cut.
  void adopt(Value v, size_t axis, Placement to) {
    if (to.kind == Kind::window) to = shard(to.dim);
    const bool fed = out_.info(v).role == Role::lane_input;
    place(v, axis, fed && to != shard(1) && to != shard(2) ? replicate : to);
  }

  Slices shares(Value v, size_t axis, int dim) const {
    return even_shares(out_.info(v), strategy_.mesh[axis], axis == 0, dim);
  }

  /// A placement along one axis, and where it cuts.
  struct Target {
    Placement placement;
    Slices slices;
  };

  /// Whether an axis other than this one cuts the dimension.
  bool cut_elsewhere(Value value, size_t axis, int dim) {
    for (size_t other = 0; other < axes(); ++other)
      if (other != axis && dim >= 0 && at(value, other).dim == dim) return true;
    return false;
  }

  /// Brings a value to where it is wanted along each axis. What must be whole is put together first, and an axis cuts a
  /// dimension when no other does any more: none is ever cut twice. A halo of rows comes last, as rows that need none
  /// are computed meanwhile (see overlap).
  Value bring_to(Value value, const std::vector<Target>& targets) {
    const auto there = [&](size_t axis) {
      return at(value, axis) == targets[axis].placement && slices(value, axis) == targets[axis].slices;
    };
    for (size_t axis = 0; axis < axes(); ++axis)
      if (targets[axis].slices.empty()) value = reshard(value, axis, targets[axis].placement, {});
    std::vector<size_t> order(axes());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_partition(order, [&](size_t axis) { return !(targets[axis].placement == window(1)); });
    for (;;) {
      std::optional<size_t> blocked;
      bool moved = false;
      for (const size_t axis : order) {
        if (there(axis)) continue;
        if (cut_elsewhere(value, axis, targets[axis].placement.dim)) {
          blocked = axis;
          continue;
        }
        value = reshard(value, axis, targets[axis].placement, targets[axis].slices);
        moved = true;
      }
      if (!blocked) return value;
      // Axes that wait for one another: one lets go.
      if (!moved && at(value, *blocked) == replicate) throw Error("'{}' would be cut twice", out_.info(value).name);
      if (!moved) value = reshard(value, *blocked, replicate, {});
    }
  }

  /// Input k of a node, as the rules want it.
  void bring(const Node& node, const std::vector<Rule>& rules, size_t k, Value& v) {
    std::vector<Target> targets;
    for (size_t axis = 0; axis < axes(); ++axis) {
      const Placement to = rules[axis].in[k];
      if (free_[v][axis]) adopt(v, axis, to);
      Target target{to, {}};
      if (to.kind == Kind::shard) target.slices = shares(v, axis, to.dim);
      if (to.kind == Kind::window) target.slices = windows(node, rules[axis], to.dim, logical(v).shape[to.dim], axis);
      targets.push_back(target);
    }
    v = bring_to(v, targets);
  }

  /// Places the outputs along one axis, and tells this member's part.
  Op::Part make(const Node& original, const Rule& rule, Node& placed, size_t axis) {
    Op::Part part{rule, member(axis), strategy_.mesh[axis].size, {}, {}};
    const auto mine = [&](Value v) {
      const Slices& all = slices(v, axis);
      return all.empty() ? Interval{} : all[static_cast<size_t>(part.member)];
    };
    for (Value v : placed.in) part.in.push_back(mine(v));
    for (size_t k = 0; k < placed.out.size(); ++k) {
      const auto [v, is] = std::pair(placed.out[k], rule.out[k]);
      place(v, axis, is);
      if (is.kind == Kind::overlap) slices(v, axis) = windows(original, rule, is.dim, logical(v).shape[is.dim], axis);
      part.out.push_back(mine(v));
    }
    return part;
  }

  /// Where the node's images were given a halo of rows along the axis: another node computes the rows that need none,
  /// which it can while the halo travels, and this one the others.
  void overlap(const Node& original, const std::vector<Op::Part>& parts, size_t axis, Node& placed) {
    if (!cuts_rows(parts[axis].rule) || placed.out.size() != 1) return;
    const Value seen = placed.in[0], y = placed.out[0], own = before_halo(out_, seen, axis);
    if (!own) return;
    const Type images = local_type(own);
    if (images.bytes() / static_cast<size_t>(images.shape[0]) < strategy_.overlap_from) return;
    const auto rows = [&](Value v) { return slices(v, axis)[static_cast<size_t>(member(axis))]; };
    auto split = split_rows(original.op, parts, axis, rows(own), rows(seen), logical(seen).shape[1]);
    if (!split) return;
    std::vector<Value> in = placed.in;
    in[0] = own;
    const Type type = logical(y);
    const Value inside =
        add(original.name + "/interior", std::make_shared<RowsOp>(type, std::move(split->interior), false), in, y);
    placed.op = std::make_shared<RowsOp>(type, std::move(split->borders), true);
    placed.in.insert(placed.in.begin(), inside);
  }

  /// What each member sees of the windowed side, which has `size` elements in dimension `dim`.
  Slices windows(const Node& node, const Rule& rule, int dim, int64_t size, size_t axis) const {
    Slices seen = shares(seen_through(node, rule, dim), axis, dim);
    for (Interval& one : seen) one = node.op->needs(dim, one, size);
    return seen;
  }

  /// The rule along the axis after those that have one in `chosen`.
  Rule choose(const Node& original, const Node& placed, const std::vector<Rule>& chosen) {
    const size_t axis = chosen.size();
    const std::vector<Rule> rules = rules_along(original_, strategy_, original, axis);
    const auto matches = [&](const Rule& rule, bool across = false) {
      for (size_t k = 0; k < placed.in.size(); ++k) {
        const Value v = placed.in[k];
        const Placement is = at(v, axis), to = rule.in[k];
        const bool grows = to.kind == Kind::window && is == shard(to.dim);
        // Another dimension may be cut instead, or what is whole, if it is long enough and no other axis cuts it.
        const Role role = out_.info(v).role;
        const bool turns = across && (is.kind == Kind::shard || is == replicate) && to.kind == Kind::shard &&
                           role != Role::parameter && role != Role::state && can_cut(v, axis, to.dim) &&
                           std::ranges::none_of(chosen, [&](const Rule& r) { return r.in[k].dim == to.dim; });
        if (!free_[v][axis] && !(is == to) && !grows && !turns) return false;
      }
      return true;
    };
    if (const Pin* pin = axis > 0 ? strategy_.pin(original.name, axis) : nullptr) seen_pins_.insert({pin, axis});
    if (const auto cut = axis > 0 ? strategy_.cut(original.name, axis) : std::nullopt) {
      const Rule* best = nullptr;
      for (const Rule& rule : rules)
        if (rule.cut == *cut && (!best || (!matches(*best) && matches(rule)))) best = &rule;
      const Pin* pin = strategy_.pin(original.name, axis);
      if (best && pin) used_pins_.insert({pin, axis});
      if (best && divides(original, *best, axis, pin)) return *best;
    }
    const Rule whole{Placements(placed.in.size()), Placements(placed.out.size())};
    const bool told_whole = axis > 0 && !strategy_.cut(original.name, axis);
    std::vector<const Rule*> fitting;
    if (matches(whole) || told_whole) fitting.push_back(&whole);
    for (const Rule& rule : rules)
      if (rule.follows && !told_whole && rule.units % strategy_.mesh[axis].size == 0 && matches(rule))
        fitting.push_back(&rule);
    if (fitting.empty() && axis > 0)  // all turn to the channels: inputs of an add that lie differently
      for (const Rule& rule : rules)
        if (rule.follows && rule.in[0] == shard(logical(placed.in[0]).shape.rank() - 1) && matches(rule, true) &&
            divides(original, rule, axis, false))
          fitting.push_back(&rule);
    if (fitting.empty()) return whole;
    const Value primal = placed.out.empty() ? Value{} : original_.info(placed.out[0]).primal;
    if (primal)
      for (const Rule* rule : fitting)
        if (rule->out[0] == at(current(primal), axis)) return *rule;
    return *fitting[0];
  }

  /// Whether the members can share what the rule cuts. What an axis does by default is skipped where they cannot, and
  /// noted; a pin is refused, and so are too few rows or columns, without which an axis is of no use.
  bool divides(const Node& node, const Rule& rule, size_t axis, bool pinned) {
    std::string why = cannot_share(original_, node, rule, strategy_.mesh[axis]);
    if (why.empty()) return true;
    if (pinned) throw InputError("{}", why);
    why += ": each computes all of it";
    auto& notes = placed_.notes;
    if (!original_.info(node.out[0]).primal && std::ranges::find(notes, why) == notes.end()) notes.push_back(why);
    return false;
  }

  /// Notes an axis that found no rows or columns to share.
  void note_idle(size_t axis) {
    const Axis& along = strategy_.mesh[axis];
    if ((along.cut == Cut::height || along.cut == Cut::width) &&
        std::ranges::all_of(placed_.slices, [&](const auto& by_axis) { return by_axis[axis].empty(); }))
      placed_.notes.push_back(
          fmt::format("mesh axis '{}' finds no images to share among its {} members: each computes all of it",
                      along.name, along.size));
  }

  /// Along one axis. One reshard a value and target, however many readers there are.
  Value reshard(Value value, size_t axis, Placement to, const Slices& wanted) {
    const Placement from = at(value, axis);
    if (from == to && slices(value, axis) == wanted) return value;
    // Terms first go to where their element belongs.
    if (from.kind == Kind::overlap && to.kind != Kind::shard)
      value = reshard(value, axis, shard(from.dim), shares(value, axis, from.dim));
    else if (from.kind == Kind::partial && to.kind == Kind::window)
      value = reshard(value, axis, shard(to.dim), shares(value, axis, to.dim));
    else
      return move(value, axis, to, wanted);
    return reshard(value, axis, to, wanted);
  }

  Value move(Value value, size_t axis, Placement to, const Slices& wanted) {
    const auto key = std::tuple(value.id, axis, to.kind, to.dim, wanted, out_.section().stage);
    if (const auto known = reshards_.find(key); known != reshards_.end()) return known->second;
    const ValueInfo info = out_.info(value);
    if (axis == 0)
      throw Error("'{}' would move from {} to {} between lanes", info.name, at(value, axis).str(), to.str());
    if (cut_elsewhere(value, axis, to.dim))
      throw Error("'{}' would be cut twice along dimension {}", info.name, to.dim);
    const auto op = std::make_shared<const ReshardOp>(static_cast<int>(axis), member(axis),
                                                      ReshardOp::Side{at(value, axis), slices(value, axis)},
                                                      ReshardOp::Side{to, wanted});
    const Value result =
        add(fmt::format("{}/{} {}", info.name, strategy_.mesh[axis].name, op->attributes()), op, {value}, value);
    at(result, axis) = to;
    slices(result, axis) = wanted;
    reshards_[key] = result;
    return result;
  }

  /// A node with one output, placed as `like` is.
  Value add(std::string name, std::shared_ptr<const Op> op, std::vector<Value> in, Value like) {
    const Value result = out_.add1(std::move(name), std::move(op), std::move(in));
    // Copies: the vectors grow.
    placed_.placement.push_back(Placements(placed_.placement[like]));
    placed_.slices.push_back(std::vector<Slices>(placed_.slices[like]));
    free_.push_back(std::vector<bool>(axes()));
    return result;
  }

  /// Reduces terms, and gives a gradient the placement of its primal.
  void reduce_terms(Value value) {
    if (sums_.contains(value) || original_.readers(value).empty()) return;
    const Value primal = original_.info(value).primal;
    std::vector<Target> targets;
    for (size_t axis = 0; axis < axes(); ++axis) {
      const Placement is = at(value, axis);
      Target target{is, slices(value, axis)};
      if (axis > 0 && primal)
        target.placement = at(current(primal), axis);
      else if (is.kind == Kind::overlap)
        target.placement = shard(is.dim);
      else if (axis > 0 && is == partial)
        target.placement = kept_terms(value, axis);
      if (!(target.placement == is))
        target.slices = target.placement.kind == Kind::shard ? shares(value, axis, target.placement.dim) : Slices{};
      targets.push_back(target);
    }
    current_[value] = bring_to(value, targets);
  }

  /// Whether the dimension has an element for each member, and no other axis cuts it.
  bool can_cut(Value value, size_t axis, int dim) {
    return !cut_elsewhere(value, axis, dim) && logical(value).shape[dim] >= strategy_.mesh[axis].size;
  }

  /// Where the sum of terms lies: cut along the channels where the next operators want it so.
  Placement kept_terms(Value value, size_t axis) {
    const int last = logical(value).shape.rank() - 1;
    const bool channels = strategy_.cut(original_.node(original_.info(value).producer).name, axis) == Cut::channels;
    return channels && can_cut(value, axis, last) ? shard(last) : replicate;
  }

  /// A sum over the batch, or the part of it that belongs to the rank's part of the variable.
  Value reduced(Value value, Value like, const Merge& merge) {
    const Value of = value;
    std::vector<int> terms;
    for (size_t axis = 0; axis < axes(); ++axis) {
      const Placement to = like ? at(like, axis) : replicate;
      if (at(value, axis) == partial && to == replicate)
        terms.push_back(static_cast<int>(axis));
      else
        value = reshard(value, axis, to, like ? slices(like, axis) : Slices{});
    }
    if (terms.empty()) return value;
    const Value result =
        add(out_.info(value).name + "/sum", std::make_shared<const ReduceOp>(terms, of, merge), {value}, value);
    for (int axis : terms) at(result, static_cast<size_t>(axis)) = replicate;
    return result;
  }

  Type local_type(Value v) {
    Type type = logical(v);
    for (size_t axis = 0; axis < axes(); ++axis)
      if (const Slices& cut = slices(v, axis); !cut.empty())
        type.shape[at(v, axis).dim] = cut[static_cast<size_t>(member(axis))].size();
    return type;
  }

  const Graph& original_;
  const Strategy& strategy_;
  const PlacementRequest& request_;
  Graph out_;
  PlacedGraph placed_;
  PerValue<std::vector<bool>> free_;  // by axis: a source whose first reader decides
  PerValue<Value> current_;           // of the original graph: what readers read
  std::set<Value> sums_;
  std::set<std::pair<const Pin*, size_t>> seen_pins_, used_pins_;
  std::map<std::tuple<int, size_t, Kind, int, Slices, int>, Value> reshards_;  // the last: a stage
};

}  // namespace

PlacedGraph propagate(const Graph& graph, const Strategy& strategy, const PlacementRequest& request,
                      std::vector<Value>& ends) {
  Propagation propagation(graph, strategy, request);
  for (const Node& node : graph.nodes()) propagation.node(node);
  return propagation.finish(ends);
}

}  // namespace lockstep
