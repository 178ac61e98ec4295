#include "launch/plan/updates.h"

#include <algorithm>
#include <numeric>

#include "layers/ops.h"
#include "parallel/collectives/gather_owned.h"
#include "parallel/collectives/gather_ranks.h"
#include "parallel/reduction/tree_reduce.h"

namespace lockstep {

namespace {

/// What this rank updates of one bucket.
struct Part {
  std::string name;
  const Bucket& bucket;
  Value parameters, gradients;
  std::vector<Value> slots;
  std::vector<Stretch> variables;  // of the part
};

class Updates {
 public:
  Updates(Planner& planner, const Network& network, const Optimizer& optimizer, const StepTarget& target,
          const std::vector<Bucket>& buckets, const std::vector<Value>& scaling)
      : planner_(planner), optimizer_(optimizer), target_(target), scaling_(scaling), step_(planner.step_state()) {
    for (const Variable& variable : network.variables())
      if (variable.trainable) variables_.push_back(variable);
    add_parts(buckets);
  }

  void plan() {
    const CommonOptions& common = optimizer_.common;
    penalise();
    if (common.clipvalue > 0) clip(ClipValue{common.clipvalue}, {});
    if (common.clipnorm > 0) clip(ClipNorm{common.clipnorm}, norms("clip", &Part::gradients));
    if (common.global_clipnorm > 0) {
      const Value each = norms("clip", &Part::gradients);
      clip(ClipNorm{common.global_clipnorm},
           planner_.after_lanes("clip/total_norm", std::make_shared<TotalNormOp>(), {each}).at(0), true);
    }
    const auto formulas = optimizer_.formulas();
    for (size_t f = 0; f < formulas.size(); ++f) {
      const bool first = f == 0, last = f + 1 == formulas.size();
      std::vector<Value> both;
      if (UpdateOp(formulas[f]).adapts())
        both = {norms("update/weights", &Part::parameters), norms("update/gradients", &Part::gradients)};
      for (Part& part : parts_) {
        if (first && common.lookahead_steps > 0)
          run(part.name + "/start", LookaheadStart{}, {slow(part), part.parameters}, {}, {}, {});
        update(part, formulas[f], first, both, last ? "" : "/direction");
        if (!last) continue;
        around(part);
        gather(part);
      }
    }
  }

 private:
  void add_parts(const std::vector<Bucket>& buckets) {
    const bool shares = planner_.shards_optimizer();
    if (shares) planner_.step().owned = planner_.owned(buckets);
    const auto mine =
        shares ? planner_.step().owned[static_cast<size_t>(planner_.data_rank())] : std::vector<OwnedRange>{};
    for (const Bucket& bucket : buckets) {
      if (!bucket.gradients) continue;
      const auto offset = static_cast<size_t>(bucket.owned.begin);
      const size_t slot_size = shares ? slot_bytes(mine) : target_.layout.parameter_bytes;
      const size_t slot_offset = shares ? mine[parts_.size()].slot : offset;
      const int64_t floats = planner_.placed_type(bucket.gradients).shape.elements();
      Part part{fmt::format("update{}", bucket.begin), bucket, {}, bucket.gradients, {}, stretches(bucket.owned)};
      part.parameters = planner_.range(part.name + "/parameters", floats, Role::parameter, {Region::parameter, offset});
      for (int slot = 0; slot < optimizer_.slots(); ++slot)
        part.slots.push_back(planner_.range(fmt::format("{}/slot{}", part.name, slot), floats, Role::slot,
                                            {Region::slot, slot_size * static_cast<size_t>(slot) + slot_offset}));
      parts_.push_back(std::move(part));
    }
  }

  /// The variables that lie in these bytes, or what does of them.
  std::vector<Stretch> stretches(const Interval& owned) const {
    std::vector<Stretch> all;
    for (size_t v = 0; v < variables_.size(); ++v) {
      const Variable& variable = variables_[v];
      const auto offset = static_cast<int64_t>(target_.layout.where.at(variable.name).offset);
      constexpr int64_t size = sizeof(float);
      const int64_t begin = std::max(offset, owned.begin);
      const int64_t end = std::min(offset + target_.layout.local_shape(variable).elements() * size, owned.end);
      if (begin >= end) continue;
      const bool excluded = optimizer_.excludes_bias_and_norm() && variable.shape.rank() == 1;
      all.push_back({(begin - owned.begin) / size, (end - owned.begin) / size, excluded, static_cast<int>(v),
                     variable.regularizer});
    }
    std::ranges::sort(all, {}, &Stretch::begin);
    return all;
  }

  /// Adds the operator; `values` are {values, gradients}. Returns what has taken the place of the values, then of
  /// slots.
  std::vector<Value> run(const std::string& name, const Formula& formula, const std::vector<Value>& values,
                         const std::vector<Value>& slots, const std::vector<Value>& norms, std::vector<Stretch> parts,
                         bool scaled = false) {
    std::vector<Value> in = values, in_place{values[0]};
    in.push_back(step_);
    in.insert(in.end(), slots.begin(), slots.end());
    in.insert(in.end(), norms.begin(), norms.end());
    if (scaled) in.insert(in.end(), scaling_.begin(), scaling_.end());
    in_place.insert(in_place.end(), slots.begin(), slots.end());
    return planner_.update(name, std::make_shared<UpdateOp>(formula, scaled, std::move(parts)), std::move(in),
                           in_place);
  }

  bool scaled() const { return !scaling_.empty(); }

  void penalise() {
    for (Part& part : parts_) {
      std::vector<Stretch> penalised;
      std::ranges::copy_if(part.variables, std::back_inserter(penalised),
                           [](const Stretch& variable) { return variable.penalty.any(); });
      if (penalised.empty()) continue;
      part.gradients = run(part.name + "/penalty", PenaltyGradient{}, {part.gradients, part.parameters}, {}, {},
                           std::move(penalised), scaled())
                           .at(0);
    }
  }

  /// By the norm of each variable, or with `total` by one norm.
  void clip(const Formula& formula, Value norm, bool total = false) {
    for (Part& part : parts_) {
      std::vector<Value> both;
      std::vector<Stretch> parts;
      if (norm) both = {norm, norm};
      if (norm && !total)
        for (Stretch variable : part.variables) {
          variable.excluded = false;  // from adaptation, not from clipping
          parts.push_back(variable);
        }
      part.gradients =
          run(part.name + "/clip", formula, {part.gradients, part.gradients}, {}, both, std::move(parts), scaled())
              .at(0);
    }
  }

  void update(Part& part, const Formula& formula, bool with_slots, const std::vector<Value>& norms,
              const std::string& suffix) {
    const bool direction = !suffix.empty();
    std::vector<Value> slots;
    if (with_slots) slots.assign(part.slots.begin(), part.slots.begin() + own_slots(formula));
    std::vector<Value> values{part.parameters, part.gradients};
    if (direction) std::swap(values[0], values[1]);
    const auto out =
        run(part.name + suffix, formula, values, slots, norms, treated_alike(part, !norms.empty()), scaled());
    (direction ? part.gradients : part.parameters) = out[0];
  }

  static ptrdiff_t own_slots(const Formula& formula) { return static_cast<ptrdiff_t>(UpdateOp(formula).slots()); }

  /// The part's variables, those together that the optimizer treats alike; none where it treats all so.
  static std::vector<Stretch> treated_alike(const Part& part, bool each) {
    if (each) return part.variables;
    std::vector<Stretch> all;
    for (const Stretch& variable : part.variables)
      if (!all.empty() && all.back().excluded == variable.excluded)
        all.back().end = variable.end;
      else
        all.push_back({variable.begin, variable.end, variable.excluded});
    if (std::ranges::none_of(all, &Stretch::excluded)) return {};
    return all;
  }

  Value slow(const Part& part) const { return part.slots[part.slots.size() - (optimizer_.common.use_ema ? 2 : 1)]; }

  /// Lookahead and the average, which count a step that was skipped as well.
  void around(Part& part) {
    const CommonOptions& common = optimizer_.common;
    if (common.lookahead_steps > 0)
      part.parameters = run(part.name + "/lookahead", LookaheadStep{common.lookahead_steps, common.lookahead_alpha},
                            {part.parameters, part.parameters}, {slow(part)}, {}, {})
                            .at(0);
    if (common.use_ema)
      run(part.name + "/average", AverageStep{common.ema_momentum}, {part.slots.back(), part.parameters}, {}, {}, {});
  }

  void gather(const Part& part) {
    if (!planner_.shards_optimizer()) return;
    const auto all = static_cast<int64_t>((part.bucket.end - part.bucket.begin) / sizeof(float));
    const Value whole =
        planner_.range(part.name + "/whole", all, Role::parameter, {Region::parameter, part.bucket.begin});
    planner_.update(part.name + "/gather", std::make_shared<GatherOwnedOp>(all), {part.parameters}, {whole});
  }

  /// f32[variables]: of one of the parts' values, on every rank.
  Value norms(const std::string& name, Value Part::*which) {
    std::vector<Value> in;
    for (const Part& part : parts_) in.push_back(part.*which);
    const auto variables = static_cast<int64_t>(variables_.size());
    const int sharers = planner_.shards_optimizer() ? planner_.data_ranks() : 1;
    std::vector<Value> out = planner_.after_lanes(name + "/norms", squares(variables, sharers), in);
    const auto join = [&](const Axis& along, size_t axis, const std::vector<int>& order) {
      const std::string prefix = fmt::format("{}/norms/{}", name, along.name);
      const Value all =
          planner_.after_lanes(prefix + "/gather", std::make_shared<GatherRanksOp>("norms", axis, order), {out[1]})[0];
      out = planner_.after_lanes(prefix, std::make_shared<NormsOp>(variables, along.size), {all});
    };
    const auto& mesh = target_.mesh.strategy().mesh;
    const std::vector<size_t> axes = axes_that_cut();
    if (sharers > 1)
      join({mesh[0].name, sharers}, 0, TreeAllReduce::owners(sharers));
    else if (!axes.empty())  // a sum a variable, as all members of an axis have
      out = planner_.after_lanes(name + "/norms/own", std::make_shared<NormsOp>(variables, 1), {out[1]});
    for (const size_t axis : axes) {
      std::vector<int> members(static_cast<size_t>(mesh[axis].size));
      std::iota(members.begin(), members.end(), 0);
      join(mesh[axis], axis, members);
    }
    return out[0];
  }

  /// The sums of squares of what this rank has, with room for as many as any rank along the first axis has.
  std::shared_ptr<const Op> squares(int64_t variables, int sharers) const {
    size_t room = 1;
    std::vector<Subtree> mine;
    for (int rank = 0; rank < sharers; ++rank) {
      auto sums = subtrees_of(counted(sharers == 1 ? updated() : owned_by(rank)));
      room = std::max(room, sums.size());
      if (sharers == 1 || rank == planner_.data_rank()) mine = std::move(sums);
    }
    return std::make_shared<NormsOp>(variables, std::move(mine), static_cast<int64_t>(room));
  }

  /// The bytes that this rank updates, and those that one along the first axis does, an interval a part of the step.
  std::vector<Interval> updated() const {
    std::vector<Interval> all;
    for (const Part& part : parts_) all.push_back(part.bucket.owned);
    return all;
  }
  std::vector<Interval> owned_by(int rank) const {
    std::vector<Interval> all;
    for (const OwnedRange& range : planner_.step().owned[static_cast<size_t>(rank)])
      all.push_back({static_cast<int64_t>(range.begin), static_cast<int64_t>(range.end)});
    return all;
  }

  /// The variables' parts that lie in these bytes, without those that another member of an axis counts, which has the
  /// same.
  std::vector<VariablePart> counted(const std::vector<Interval>& owned) const {
    std::vector<VariablePart> all;
    for (size_t p = 0; p < owned.size(); ++p)
      for (const Stretch& part : stretches(owned[p])) {
        const Variable& variable = variables_[static_cast<size_t>(part.norm)];
        if (counted_elsewhere(variable.name)) continue;
        const auto offset = static_cast<int64_t>(target_.layout.where.at(variable.name).offset);
        const int64_t first = (owned[p].begin - offset) / static_cast<int64_t>(sizeof(float)) + part.begin;
        all.push_back({part.norm, p, part.begin, part.end, first, target_.layout.local_shape(variable).elements()});
      }
    return all;
  }

  bool counted_elsewhere(const std::string& variable) const {
    const auto places = target_.mesh.coordinates();
    return std::ranges::any_of(axes_that_cut(), [&](size_t axis) {
      return axis != target_.mesh.strategy().stage_axis() && !cuts(axis, variable) && places[axis - 1] > 0;
    });
  }

  bool cuts(size_t axis, const std::string& variable) const {
    const auto found = target_.layout.shards.find(variable);
    return found != target_.layout.shards.end() && !found->second.slices[axis].empty();
  }

  /// Those along which members have different parts of some variable, or different variables.
  std::vector<size_t> axes_that_cut() const {
    const Strategy& strategy = target_.mesh.strategy();
    std::vector<size_t> axes;
    for (size_t axis = 1; axis < strategy.mesh.size(); ++axis)
      if (axis == strategy.stage_axis() ||
          std::ranges::any_of(variables_, [&](const Variable& variable) { return cuts(axis, variable.name); }))
        axes.push_back(axis);
    return axes;
  }

  Planner& planner_;
  const Optimizer& optimizer_;
  const StepTarget& target_;
  const std::vector<Value>& scaling_;
  Value step_;
  std::vector<Variable> variables_;  // trained
  std::vector<Part> parts_;
};

}  // namespace

void plan_updates(Planner& planner, const Network& network, const Optimizer& optimizer, const StepTarget& target,
                  const std::vector<Bucket>& buckets, const std::vector<Value>& scaling) {
  Updates(planner, network, optimizer, target, buckets, scaling).plan();
}

}  // namespace lockstep
