#include "launch/step.h"

#include <algorithm>
#include <bit>

#include "core/error.h"
#include "core/log.h"
#include "core/plan/autodiff.h"
#include "core/plan/recompute.h"
#include "core/step_state.h"
#include "layers/fuse.h"
#include "layers/ops.h"
#include "parallel/propagate.h"
#include "parallel/reshard_kernels.h"
#include "parallel/tree_reduce.h"

namespace lockstep {

void check_batch(const StepOptions& options, int all_ranks) {
  check_ranks(options.strategy, all_ranks);
  const int ranks = all_ranks / static_cast<int>(options.strategy.ranks_per_lane());
  const int64_t batch = options.batch;
  const int lanes = options.lanes;
  constexpr int64_t most = int64_t{1} << 31;
  if (batch < 1 || batch > most) throw InputError("batch is {}, expected 1 to {}", batch, most);
  if (options.numerics == Numerics::fast) {
    if (batch % ranks != 0)
      throw InputError("batch {} does not divide by {} ranks; {} or {} would fit", batch, ranks,
                       std::max<int64_t>(ranks, batch / ranks * ranks), (batch / ranks + 1) * ranks);
    return;
  }
  if (lanes < 1 || !std::has_single_bit(static_cast<unsigned>(lanes)))
    throw InputError("lanes is {}, expected a power of two: 1, 2, 4, 8, …", lanes);
  if (batch % lanes != 0)
    throw InputError("batch {} does not divide into {} lanes; {} or {} would fit", batch, lanes,
                     std::max<int64_t>(lanes, batch / lanes * lanes), (batch / lanes + 1) * lanes);
  if (ranks > lanes || lanes % ranks != 0) {
    std::string fitting;
    for (int64_t p = 1; p <= lanes; p *= 2) fitting += fmt::format("{}{}", p == 1 ? "" : ", ", p);
    throw InputError("{} lanes cannot be shared by {} ranks; {} ranks would fit, or more lanes (--lanes)", lanes, ranks,
                     fitting);
  }
}

namespace {

int lanes_of(const StepOptions& options, const Mesh& mesh) {
  return options.numerics == Numerics::fast ? mesh.data_ranks() : options.lanes;
}

/// The strategy of a step of so many lanes.
Strategy over_lanes(const Mesh& mesh, int lanes) {
  Strategy strategy = mesh.strategy();
  strategy.mesh[0].size = lanes;
  return strategy;
}

void fuse_for(const Strategy& strategy, Graph& graph, std::span<const Value> keep) {
  // Terms of a sum have no activation of their own.
  fuse(graph, keep, [&](const std::string& node) {
    for (size_t axis = 1; axis < strategy.mesh.size(); ++axis)
      if (strategy.cut(node, axis) == Cut::channels) return false;
    return true;
  });
}

/// The batch is cut into lanes; where else images and labels lie is for their readers to say.
PlacementRequest request_of(const Graph& graph, const Mesh& mesh) {
  PlacementRequest request{.coordinates = mesh.coordinates()};
  const auto& values = graph.values();
  for (size_t v = 0; v < values.size(); ++v)
    if (values[v].role == Role::LaneInput) request.sources[static_cast<int>(v)] = {shard(0)};
  return request;
}

/// A network's forward graph being turned into a plan.
class Planner {
 public:
  Planner(const Network& network, const StepOptions& options, const StepTarget& target, bool training)
      : options_(options),
        target_(target),
        lanes_(lanes_of(options, target.mesh)),
        built_(network.build(options.batch, lanes_, training, compute_type(options.precision))) {
    check_batch(options, target.mesh.world().size());
    step_.images = built_.input;
  }

  Graph& graph() { return built_.graph; }
  void passed(std::string_view pass) const {
    if (target_.on_pass && target_.mesh.world().rank() == 0)
      target_.on_pass(pass, placed_.graph.values().empty() ? built_.graph : placed_.graph);
  }
  const Type& placed_type(Value value) const { return placed_.graph.type(value); }
  const Built& built() const { return built_; }

  /// Where `scaled`, with the loss scale, which the gradient is multiplied by.
  void add_loss(bool scaled) {
    Builder builder(graph(), options_.batch, lanes_, false);
    step_.labels = graph().source("labels", {Shape{options_.batch}, DType::i32}, Role::LaneInput);
    std::vector<Value> in{logits(), step_.labels, builder.lane_state()};
    if (scaled) in.push_back(scale_ = graph().source(std::string(loss_scale_name), loss_scale_type(), Role::State));
    const auto out = graph().add("loss", std::make_shared<CrossEntropyOp>(scaled), std::move(in));
    step_.loss = out.at(0);
    step_.correct = out.at(1);
  }

  /// What the softmax at the network's end takes.
  Value logits() {
    const int last = graph().info(built_.output).producer;
    const Node* node = last >= 0 ? &graph().nodes()[static_cast<size_t>(last)] : nullptr;
    if (!node || !dynamic_cast<const SoftmaxOp*>(node->op.get()))
      throw InputError("the model ends in '{}', expected a softmax, which cross-entropy needs",
                       graph().info(built_.output).name);
    return node->in[0];
  }

  /// Cuts the graph into lanes, and each lane's work as the strategy says; `sums` are to be reduced, `whole` to be held
  /// by every member. Where they are comes back in the same order.
  std::vector<Value> place(std::vector<PlacementRequest::Sum> sums, const std::vector<Value>& whole = {}) {
    PlacementRequest request = request_of(graph(), target_.mesh);
    request.sums = std::move(sums);
    request.replicated = whole;
    const auto& values = graph().values();
    for (size_t v = 0; v < values.size(); ++v)
      if (values[v].role == Role::Parameter || values[v].role == Role::State)
        request.sources[static_cast<int>(v)] = target_.layout.placements(values[v].name);
    std::vector<Value> ends;
    placed_ = propagate(graph(), over_lanes(target_.mesh, lanes_), request, ends);
    return ends;
  }
  /// A value whose nodes run once a lane becomes an output of the step.
  void keep(Value output) {
    // A view is kept by keeping what it looks at.
    const auto& nodes = placed_.graph.nodes();
    const auto producer = [&] { return placed_.graph.info(output).producer; };
    while (producer() >= 0 && nodes[static_cast<size_t>(producer())].op->reuse() == Reuse::View)
      output = nodes[static_cast<size_t>(producer())].in[0];
    if (producer() >= 0) placed_.graph.set_role(output, Role::Output);
  }
  void fuse_nodes(const std::vector<Value>& keep) { fuse_for(target_.mesh.strategy(), graph(), keep); }

  std::vector<Bucket> reduce(const FixedLocations& sums, size_t gradient_bytes) {
    BucketRequest request{.sums = sums, .gradient_bytes = gradient_bytes};
    if (shards_optimizer()) {
      request.sharers = target_.mesh.data_ranks();
      request.sharer = target_.mesh.data_rank();
    }
    auto buckets = bucket_reductions(placed_, request, fixed_);
    for (const Bucket& bucket : buckets) largest_ = std::max(largest_, (bucket.end - bucket.begin) / sizeof(float));
    return buckets;
  }

  /// A flat range of a kept region, as a value.
  Value range(const std::string& name, int64_t floats, Role role, Location location) {
    const Value value = placed_.graph.source(name, {Shape{floats}, DType::f32}, role);
    extend();
    fixed_[value.id] = location;
    return value;
  }

  /// A node that runs once a step, behind the reductions that it reads.
  std::vector<Value> after_lanes(const std::string& name, std::shared_ptr<const Op> op, std::vector<Value> in) {
    auto out = placed_.graph.add(name, std::move(op), std::move(in));
    extend();
    return out;
  }

  /// The same, with outputs where `in_place` lie.
  std::vector<Value> update(const std::string& name, std::shared_ptr<const Op> op, std::vector<Value> in,
                            const std::vector<Value>& in_place) {
    auto out = after_lanes(name, std::move(op), std::move(in));
    for (size_t k = 0; k < out.size(); ++k) {
      placed_.graph.set_role(out[k], placed_.graph.info(in_place[k]).role);
      const auto to = static_cast<size_t>(out[k].id), from = static_cast<size_t>(in_place[k].id);
      placed_.local[to] = placed_.local[from];
      placed_.placement[to] = placed_.placement[from];
      placed_.slices[to] = placed_.slices[from];
      fixed_[out[k].id] = fixed_.at(in_place[k].id);
    }
    return out;
  }

  bool shards_optimizer() const { return target_.mesh.strategy().shard_optimizer && target_.mesh.data_ranks() > 1; }
  /// Whether ranks hold different gradients at a step's end.
  bool gradients_differ() const { return shards_optimizer() || !target_.layout.shards.empty(); }
  /// What each rank along the first axis keeps of the optimizer's variables.
  OwnedRanges owned(const std::vector<Bucket>& buckets) const {
    OwnedRanges all(static_cast<size_t>(target_.mesh.data_ranks()));
    for (size_t rank = 0; rank < all.size(); ++rank)
      for (const Bucket& bucket : buckets) {
        if (!bucket.gradients) continue;
        const Interval part = TreeAllReduce::owned(static_cast<int>(all.size()), static_cast<int>(rank),
                                                   (bucket.end - bucket.begin) / sizeof(float));
        all[rank].push_back({bucket.begin + sizeof(float) * static_cast<size_t>(part.begin),
                             bucket.begin + sizeof(float) * static_cast<size_t>(part.end), slot_bytes(all[rank])});
      }
    return all;
  }
  int data_rank() const { return target_.mesh.data_rank(); }

  /// The loss scale, where there is one.
  Value scale() const { return scale_; }

  /// The placed graph's StepState; the optimizer reads it, so it exists in training.
  Value step_state() {
    const Value known = placed_.graph.find("step_state");
    if (known) return known;
    const Value value = placed_.graph.source("step_state", step_state_type(), Role::StepInput);
    extend();
    return value;
  }

  void fix(Value value, Location location) { fixed_[value.id] = location; }

  void fix_variables() {
    const auto& values = graph().values();
    for (size_t v = 0; v < values.size(); ++v)
      if (values[v].role == Role::Parameter || values[v].role == Role::State)
        fix({static_cast<int>(v)}, target_.layout.where.at(values[v].name));
  }

  Step finish() {
    step_.lane_state = placed_.graph.find("lane_state");
    step_.step_state = placed_.graph.find("step_state");
    step_.plan.graph = std::move(placed_.graph);
    step_.plan.local = std::move(placed_.local);
    step_.plan.placement = std::move(placed_.placement);
    step_.plan.slices = std::move(placed_.slices);
    step_.coordinates = target_.mesh.coordinates();
    step_.plan.lanes = lanes_ / target_.mesh.data_ranks();
    KernelTable kernels = target_.kernels;
    add_reduction_kernels(kernels, options_.numerics, target_.mesh, target_.backend, largest_);
    add_reshard_kernels(kernels, target_.mesh);
    finish_plan(step_.plan, kernels, fixed_);
    return std::move(step_);
  }

  Step& step() { return step_; }

 private:
  /// New values of the placed graph are replicated.
  void extend() {
    for (size_t v = placed_.local.size(); v < placed_.graph.values().size(); ++v) {
      placed_.local.push_back(placed_.graph.values()[v].type);
      placed_.placement.emplace_back(target_.mesh.strategy().mesh.size());
      placed_.slices.emplace_back(target_.mesh.strategy().mesh.size());
    }
  }

  StepOptions options_;
  StepTarget target_;
  int lanes_;
  Built built_;
  PlacedGraph placed_;
  FixedLocations fixed_;
  size_t largest_ = 0;
  Value scale_;
  Step step_;
};

/// Puts sums one after the other behind `offset`.
void stack_sums(const Graph& graph, std::span<const Value> values, size_t offset, FixedLocations& sums) {
  for (Value value : values) {
    sums[value.id] = {Region::Sum, offset};
    offset += aligned(graph.type(value).bytes());
  }
}

/// With loss scaling: what all updates take, {loss scale, whether all gradients are finite}. Totals are the same on all
/// ranks, so this is as well. The gaps between gradients are zeros.
std::vector<Value> add_finite(Planner& planner, const std::vector<Bucket>& buckets) {
  std::vector<Value> gradients;
  for (const Bucket& bucket : buckets)
    if (bucket.gradients) gradients.push_back(bucket.gradients);
  if (!planner.scale() || gradients.empty()) return {};
  Value flag = planner.after_lanes("finite", std::make_shared<FiniteOp>(), gradients).at(0);
  if (planner.gradients_differ()) flag = planner.after_lanes("finite/sum", std::make_shared<FlagSumOp>(), {flag}).at(0);
  return {planner.scale(), flag};
}

}  // namespace

Shards place_variables(const Network& network, const StepOptions& options, const Mesh& mesh) {
  Shards shards;
  if (mesh.strategy().mesh.size() == 1) return shards;
  check_batch(options, mesh.world().size());
  const int lanes = lanes_of(options, mesh);
  // As a training step sees them.
  Built built = network.build(options.batch, lanes, true);
  Graph& graph = built.graph;
  std::vector<Value> keep{built.output};
  for (const auto& tracked : built.tracked) keep.push_back(tracked.sum);
  fuse_for(mesh.strategy(), graph, keep);
  std::vector<Value> ends;
  PlacedGraph placed = propagate(graph, over_lanes(mesh, lanes), request_of(graph, mesh), ends);
  if (mesh.world().rank() == 0)
    for (const std::string& note : placed.notes) log().warn("{}", note);
  for (const auto& [moving, sum, momentum] : built.tracked) {  // a statistic lies as what it is taken of
    const auto from = static_cast<size_t>(sum.id), to = static_cast<size_t>(moving.id);
    placed.placement[to] = placed.placement[from];
    std::ranges::replace(placed.placement[to], partial, replicate);
    placed.slices[to] = placed.slices[from];
    placed.local[to] = placed.local[from];
  }
  for (size_t v = 0; v < graph.values().size(); ++v) {
    const ValueInfo& info = graph.values()[v];
    if (info.role != Role::Parameter && info.role != Role::State) continue;
    if (std::ranges::any_of(placed.slices[v], [](const Slices& cut) { return !cut.empty(); }))
      shards[info.name] = {placed.placement[v], placed.slices[v], placed.local[v].shape};
  }
  return shards;
}

Step plan_training(const Network& network, const Optimizer& optimizer, const StepOptions& options,
                   const StepTarget& target) {
  Planner planner(network, options, target, true);
  planner.add_loss(options.scales_loss());
  std::vector<Value> others{planner.step().loss, planner.step().correct};
  for (const auto& tracked : planner.built().tracked) others.push_back(tracked.sum);
  planner.passed("network");
  planner.fuse_nodes(others);
  planner.passed("fuse");
  const size_t forward = planner.graph().nodes().size();
  const auto gradients =
      autodiff(planner.graph(), planner.step().loss, [](Graph& g, std::string name, Value a, Value b) {
        return g.add1(std::move(name), std::make_shared<AddOp>(), {a, b});
      });

  const auto again = [&](const std::string& node) {
    return std::ranges::any_of(options.recompute, [&](const std::string& pattern) { return matches(pattern, node); });
  };
  if (!options.recompute.empty()) recompute(planner.graph(), forward, again);

  std::vector<Value> wanted = others;
  FixedLocations sums;
  stack_sums(planner.graph(), others, target.layout.parameter_bytes, sums);
  for (const Gradient& gradient : gradients) {
    wanted.push_back(gradient.gradient);
    const auto& name = planner.graph().info(gradient.parameter).name;
    sums[gradient.gradient.id] = {Region::Sum, target.layout.where.at(name).offset};
  }
  planner.graph().prune(wanted);
  planner.passed("autodiff");
  planner.fix_variables();
  std::vector<PlacementRequest::Sum> requests{{planner.step().loss}, {planner.step().correct}};
  for (const auto& tracked : planner.built().tracked) requests.push_back({tracked.sum, tracked.moving});
  for (const Gradient& gradient : gradients) requests.push_back({gradient.gradient, gradient.parameter});
  const auto totals = planner.place(requests);
  planner.passed("place");
  const auto buckets = planner.reduce(sums, target.layout.parameter_bytes);
  planner.passed("reduce");

  const Value step_state = planner.step_state();
  const std::vector<Value> scaling = add_finite(planner, buckets);
  const bool shares = planner.shards_optimizer();
  if (shares) planner.step().owned = planner.owned(buckets);
  const auto& mine =
      shares ? planner.step().owned[static_cast<size_t>(planner.data_rank())] : std::vector<OwnedRange>{};
  size_t owned = 0;
  for (const Bucket& bucket : buckets) {
    if (!bucket.gradients) continue;
    const auto offset = static_cast<size_t>(bucket.owned.begin);
    const std::string name = fmt::format("update{}", bucket.begin);
    const int64_t floats = planner.placed_type(bucket.gradients).shape.elements();
    const size_t slot_size = shares ? slot_bytes(mine) : target.layout.parameter_bytes;
    const size_t slot_offset = shares ? mine[owned++].slot : offset;
    std::vector<Value> kept{planner.range(name + "/parameters", floats, Role::Parameter, {Region::Parameter, offset})};
    for (int slot = 0; slot < optimizer.slots(); ++slot)
      kept.push_back(planner.range(fmt::format("{}/slot{}", name, slot), floats, Role::Slot,
                                   {Region::Slot, slot_size * static_cast<size_t>(slot) + slot_offset}));
    std::vector<Value> in{kept[0], bucket.gradients, step_state};
    in.insert(in.end(), kept.begin() + 1, kept.end());
    in.insert(in.end(), scaling.begin(), scaling.end());
    const Value updated = planner.update(name, optimizer.op(!scaling.empty()), in, kept).at(0);
    if (!shares) continue;
    const auto all = static_cast<int64_t>((bucket.end - bucket.begin) / sizeof(float));
    const Value whole = planner.range(name + "/whole", all, Role::Parameter, {Region::Parameter, bucket.begin});
    planner.update(name + "/gather", std::make_shared<GatherOwnedOp>(all), {updated}, {whole});
  }
  // Behind the updates, which read the scale that this step's gradients have.
  if (!scaling.empty()) planner.update("loss_scale", std::make_shared<LossScaleOp>(), scaling, {scaling[0]});
  for (size_t i = 0; i < planner.built().tracked.size(); ++i) {
    const auto& [moving, sum, momentum] = planner.built().tracked[i];
    planner.update(planner.graph().info(moving).name + "/track", std::make_shared<MovingAverageOp>(momentum),
                   {moving, totals[2 + i], step_state}, {moving});
  }
  planner.step().loss = totals[0];
  planner.step().correct = totals[1];
  return planner.finish();
}

Step plan_evaluation(const Network& network, const StepOptions& options, const StepTarget& target) {
  Planner planner(network, options, target, false);
  planner.add_loss(false);
  const std::vector<Value> wanted{planner.step().loss, planner.step().correct};
  planner.fuse_nodes(wanted);
  planner.fix_variables();
  FixedLocations sums;
  stack_sums(planner.graph(), wanted, 0, sums);
  const auto totals = planner.place({{wanted[0]}, {wanted[1]}});
  planner.reduce(sums, 0);
  planner.step().loss = totals[0];
  planner.step().correct = totals[1];
  return planner.finish();
}

Step plan_prediction(const Network& network, const StepOptions& options, const StepTarget& target) {
  Planner planner(network, options, target, false);
  Value output = planner.built().output;
  if (const ValueInfo info = planner.graph().info(output); info.type.dtype != DType::f32)
    output = planner.graph().add1(info.name + "/f32", std::make_shared<CastOp>(DType::f32), {output});
  planner.fuse_nodes({output});
  planner.fix_variables();
  output = planner.place({}, {output})[0];
  planner.keep(output);
  planner.step().predictions = output;
  return planner.finish();
}

}  // namespace lockstep
