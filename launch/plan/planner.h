// What the plans of training, evaluation and prediction share: a network's graph on its way through the passes. One
// rank's thread.
#pragma once

#include <algorithm>

#include "core/error.h"
#include "core/step_state.h"
#include "launch/plan/passes.h"
#include "launch/plan/step.h"
#include "layers/network/end.h"
#include "layers/ops.h"
#include "parallel/collectives/share.h"
#include "parallel/mesh/stages.h"
#include "parallel/placement/pipeline.h"
#include "parallel/placement/propagate.h"

namespace lockstep {

/// Lanes of the whole mesh.
int lanes_of(const StepOptions& options, const Mesh& mesh);
/// The mesh's strategy for a step of so many lanes.
Strategy over_lanes(const Mesh& mesh, int lanes);
/// The fuse pass, as the strategy allows it; batch norms are split where it cuts images; then each node gets its stage.
/// Returns what fuse does.
std::map<std::string, std::string> fuse_for(const Strategy& strategy, Graph& graph, std::span<const Value> keep);
/// The batch is cut into lanes; where else images and labels lie is for their readers to say.
PlacementRequest request_of(const Graph& graph, const Mesh& mesh);

/// A network's forward graph being turned into a plan.
class Planner {
 public:
  Planner(const Network& network, const StepOptions& options, const StepTarget& target, bool training)
      : options_(options),
        target_(target),
        lanes_(lanes_of(options, target.mesh)),
        training_(training),
        built_(network.build(options.batch, lanes_, training, compute_type(options.precision))) {
    check_batch(options, target.mesh.world().size());
    step_.images = built_.input;
  }

  Graph& graph() { return built_.graph; }
  void passed(PassName pass) const {
    if (target_.on_pass && target_.mesh.world().rank() == 0)
      target_.on_pass(pass.name, placed_.graph.values().empty() ? built_.graph : placed_.graph);
  }
  const Type& placed_type(Value value) const { return placed_.graph.type(value); }
  const Built& built() const { return built_; }

  /// Where `scaled`, with the loss scale, which the gradient is multiplied by.
  void add_loss(bool scaled) {
    Builder builder(graph(), options_.batch, lanes_, false);
    const bool takes_output = options_.loss.end().empty();
    const Value x = f32(takes_output ? built_.output : taken_by_end());
    Value output = takes_output ? x : Value{};
    const Shape sample(graph().type(x).shape.dims().subspan(1));
    const auto [target, dtype] = options_.loss.target(sample);
    std::vector<int64_t> dims{options_.batch};
    dims.insert(dims.end(), target.dims().begin(), target.dims().end());
    step_.labels = graph().source("labels", {Shape(dims), dtype}, Role::LaneInput);
    std::vector<Value> in{x, step_.labels, builder.lane_state()};
    if (scaled) in.push_back(scale_ = graph().source(std::string(loss_scale_name), loss_scale_type(), Role::State));
    graph().set_section({target_.mesh.strategy().stages() - 1});
    const auto out = graph().add("loss", options_.loss.op(scaled), in);
    step_.loss = out.at(0);
    in.resize(3);
    const Measures measures(options_.loss, options_.metrics, sample);
    for (const Tally& tally : measures.tallies()) {
      const std::string name = fmt::format("metrics/{}", step_.tallies.size());
      if (tally.of_output && !output) output = f32(built_.output);
      in[0] = tally.of_output ? output : x;
      step_.tallies.push_back(tally.op ? graph().add1(name, tally.op, in) : out.at(1));
    }
    graph().set_section({});
  }
  /// The loss and the metrics' tallies.
  std::vector<Value> results() const {
    std::vector<Value> all{step_.loss};
    all.insert(all.end(), step_.tallies.begin(), step_.tallies.end());
    return all;
  }

  /// What the network's last operator takes, which must be the loss' end.
  Value taken_by_end() {
    const std::string end = options_.loss.end();
    if (end_of(graph(), built_.output) != end)
      throw InputError("the model ends in '{}', expected a {}, which {} needs", graph().info(built_.output).name, end,
                       options_.loss.name());
    return graph().nodes()[static_cast<size_t>(graph().info(built_.output).producer)].in[0];
  }
  /// The value itself where it is f32.
  Value f32(Value value) {
    const ValueInfo info = graph().info(value);
    if (info.type.dtype == DType::f32) return value;
    return graph().add1(info.name + "/f32", std::make_shared<CastOp>(DType::f32), {value});
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
    if (const int stages = target_.mesh.strategy().stages(); stages > 1) {
      const std::vector<Value> everywhere(ends.end() - static_cast<ptrdiff_t>(whole.size()), ends.end());
      split_stages(placed_, target_.mesh.stage(), stages, everywhere);
      for (const auto& [id, placements] : request.sources) {
        const auto found = target_.layout.shards.find(placed_.graph.info({id}).name);
        if (found == target_.layout.shards.end() || found->second.local.elements() > 0) continue;
        placed_.graph.set_role({id}, Role::Activation);  // another stage's
        fixed_.erase(id);
      }
    }
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
  /// Whether this rank's stage makes the value.
  bool here(Value value) const { return placed_.graph.info(value).producer >= 0; }
  /// The sums that every rank is to know, which the last stage makes.
  void share_results(std::vector<Value> totals) {
    if (const int last = target_.mesh.strategy().stages() - 1; last > 0) {
      std::vector<Type> types;
      for (const Value total : totals) types.push_back(placed_type(total));
      std::vector<Value> in;
      if (here(totals[0])) in = totals;
      totals = after_lanes("results", std::make_shared<ShareOp>(last, types), in);
    }
    step_.loss = totals[0];
    step_.tallies.assign(totals.begin() + 1, totals.end());
  }
  /// Behind the lanes, before anything that all stages exchange.
  void end_pipeline() {
    const int last = target_.mesh.strategy().stages() - 1;
    if (last > 0) after_lanes("end", std::make_shared<ShareOp>(last, std::vector<Type>{}), {});
  }
  void fuse_nodes(const std::vector<Value>& keep) { fuse_for(target_.mesh.strategy(), graph(), keep); }

  std::vector<Bucket> reduce(const FixedLocations& sums, size_t gradient_bytes) {
    BucketRequest request{.sums = sums, .gradient_bytes = gradient_bytes, .phased = phased()};
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

  /// A node that runs once a step, after the reductions that it reads.
  std::vector<Value> after_lanes(const std::string& name, std::shared_ptr<const Op> op, std::vector<Value> in) {
    placed_.graph.set_section({target_.mesh.stage(), Phase::AfterLanes});
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
        const Interval part =
            owned_bytes(bucket.begin, bucket.end, static_cast<int>(all.size()), static_cast<int>(rank));
        all[rank].push_back({static_cast<size_t>(part.begin), static_cast<size_t>(part.end), slot_bytes(all[rank])});
      }
    return all;
  }
  int data_rank() const { return target_.mesh.data_rank(); }
  int data_ranks() const { return target_.mesh.data_ranks(); }

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
    const auto if_read = [&](Value v) { return v && placed_.graph.info(v).role != Role::Activation ? v : Value{}; };
    step_.images = if_read(step_.images);
    step_.labels = if_read(step_.labels);
    step_.lane_state = if_read(placed_.graph.find("lane_state"));
    step_.step_state = placed_.graph.find("step_state");
    step_.plan.graph = std::move(placed_.graph);
    step_.plan.local = std::move(placed_.local);
    step_.plan.placement = std::move(placed_.placement);
    step_.plan.slices = std::move(placed_.slices);
    step_.coordinates = target_.mesh.coordinates();
    step_.plan.lanes = lanes_ / target_.mesh.data_ranks();
    if (phased()) {
      const Strategy& strategy = target_.mesh.strategy();
      step_.plan.turns = turns_of(strategy.schedule, target_.mesh.stage(), strategy.stages(), step_.plan.lanes);
      step_.plan.in_flight = lanes_in_flight(step_.plan.turns);
    }
    const KernelTable kernels =
        with_mesh_ops(target_.mesh, target_.backend, target_.kernels, options_.numerics, largest_);
    finish_plan(step_.plan, kernels, fixed_);
    return std::move(step_);
  }

  Step& step() { return step_; }

 private:
  /// Whether forward and backward have turns of their own.
  bool phased() const { return training_ && target_.mesh.strategy().stages() > 1; }
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
  bool training_;
  Built built_;
  PlacedGraph placed_;
  FixedLocations fixed_;
  size_t largest_ = 0;
  Value scale_;
  Step step_;
};

}  // namespace lockstep
