#include "launch/plan/planner.h"

#include <algorithm>

#include "core/error.h"
#include "core/step_state.h"
#include "layers/network/end.h"
#include "layers/ops.h"
#include "layers/passes/fuse.h"
#include "layers/passes/split_norms.h"
#include "parallel/collectives/share.h"
#include "parallel/mesh/stages.h"
#include "parallel/placement/pipeline.h"

namespace lockstep {

int lanes_of(const StepOptions& options, int data_ranks) {
  return options.numerics == Numerics::fast ? data_ranks : options.lanes;
}

Strategy over_lanes(const Mesh& mesh, int lanes) {
  Strategy strategy = mesh.strategy();
  strategy.mesh[0].size = lanes;
  return strategy;
}

std::map<std::string, std::string> fuse_for(const Strategy& strategy, Graph& graph, std::span<const Value> keep) {
  // Terms of a sum have no activation of their own.
  auto taken = fuse(graph, keep, [&](const std::string& node) {
    for (size_t axis = 1; axis < strategy.mesh.size(); ++axis)
      if (strategy.cut(node, axis) == Cut::channels) return false;
    return true;
  });
  split_norms(graph, [&](const std::string& node) {
    ImageParts parts;
    for (size_t axis = 1; axis < strategy.mesh.size(); ++axis) {
      const auto cut = strategy.cut(node, axis);
      if (cut == Cut::height) parts.rows *= strategy.mesh[axis].size;
      if (cut == Cut::width) parts.columns *= strategy.mesh[axis].size;
    }
    return parts;
  });
  if (!strategy.layer_stages.empty()) assign_stages(graph, strategy);
  return taken;
}

PlacementRequest request_of(const Graph& graph, const Mesh& mesh) {
  PlacementRequest request{.coordinates = mesh.coordinates()};
  for (Value v{0}; graph.has(v); ++v.id)
    if (graph.info(v).role == Role::lane_input) request.sources[v] = {shard(0)};
  return request;
}

Planner::Planner(const Network& network, const StepOptions& options, const StepTarget& target, bool training)
    : options_(options),
      target_(target),
      lanes_(lanes_of(options, target.mesh.data_ranks())),
      training_(training),
      built_(network.build(options.batch, lanes_, training, compute_type(options.precision))) {
  step_.images = built_.input;
}

void Planner::passed(PassName pass) const {
  if (target_.on_pass && target_.mesh.world().rank() == 0)
    target_.on_pass(pass.name, placed_.graph.values().empty() ? built_.graph : placed_.graph);
}

void Planner::add_loss(bool scaled) {
  Builder builder(graph(), options_.batch, lanes_, false);
  const bool takes_output = options_.loss.end().empty();
  const Value x = f32(takes_output ? built_.output : taken_by_end());
  Value output = takes_output ? x : Value{};
  const Shape sample(graph().type(x).shape.dims().subspan(1));
  const auto [target, dtype] = options_.loss.target(sample);
  std::vector<int64_t> dims{options_.batch};
  dims.insert(dims.end(), target.dims().begin(), target.dims().end());
  step_.labels = graph().source("labels", {Shape(dims), dtype}, Role::lane_input);
  std::vector<Value> in{x, step_.labels, builder.lane_state()};
  if (scaled) in.push_back(scale_ = graph().source(std::string(loss_scale_name), loss_scale_type(), Role::state));
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

std::vector<Value> Planner::results() const {
  std::vector<Value> all{step_.loss};
  all.insert(all.end(), step_.tallies.begin(), step_.tallies.end());
  return all;
}

Value Planner::taken_by_end() {
  const std::string end = options_.loss.end();
  if (end_of(graph(), built_.output) != end)
    throw InputError("the model ends in '{}', expected a {}, which {} needs", graph().info(built_.output).name, end,
                     options_.loss.name());
  return graph().node(graph().info(built_.output).producer).in[0];
}

Value Planner::f32(Value value) {
  const ValueInfo info = graph().info(value);
  if (info.type.dtype == DType::f32) return value;
  return graph().add1(info.name + "/f32", std::make_shared<CastOp>(DType::f32), {value});
}

std::vector<Value> Planner::place(std::vector<PlacementRequest::Sum> sums, const std::vector<Value>& whole) {
  PlacementRequest request = request_of(graph(), target_.mesh);
  request.sums = std::move(sums);
  request.replicated = whole;
  for (Value v{0}; graph().has(v); ++v.id)
    if (is_variable(v)) request.sources[v] = target_.layout.placements(graph().info(v).name);
  std::vector<Value> ends;
  placed_ = propagate(graph(), over_lanes(target_.mesh, lanes_), request, ends);
  if (const int stages = target_.mesh.strategy().stages(); stages > 1) {
    const std::vector<Value> everywhere(ends.end() - static_cast<ptrdiff_t>(whole.size()), ends.end());
    split_stages(placed_, target_.mesh.stage(), stages, everywhere);
    for (const auto& [source, placements] : request.sources) {
      const auto found = target_.layout.shards.find(placed_.graph.info(source).name);
      if (found == target_.layout.shards.end() || found->second.local.elements() > 0) continue;
      placed_.graph.set_role(source, Role::activation);  // another stage's
      fixed_.erase(source);
    }
  }
  return ends;
}

void Planner::keep(Value output) {
  // A view is kept by keeping what it looks at.
  const auto producer = [&] { return placed_.graph.info(output).producer; };
  while (producer() >= 0 && placed_.graph.node(producer()).op->reuse() == Reuse::view)
    output = placed_.graph.node(producer()).in[0];
  if (producer() >= 0) placed_.graph.set_role(output, Role::output);
}

void Planner::share_results(std::vector<Value> totals) {
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

void Planner::end_pipeline() {
  const int last = target_.mesh.strategy().stages() - 1;
  if (last > 0) after_lanes("end", std::make_shared<ShareOp>(last, std::vector<Type>{}), {});
}

std::vector<Bucket> Planner::reduce(const FixedLocations& sums, size_t gradient_bytes) {
  BucketRequest request{.sums = sums, .gradient_bytes = gradient_bytes, .phased = phased()};
  if (shards_optimizer()) {
    request.sharers = target_.mesh.data_ranks();
    request.sharer = target_.mesh.data_rank();
  }
  auto buckets = bucket_reductions(placed_, request, fixed_);
  for (const Bucket& bucket : buckets) largest_ = std::max(largest_, (bucket.end - bucket.begin) / sizeof(float));
  return buckets;
}

Value Planner::range(const std::string& name, int64_t floats, Role role, Location location) {
  const Value value = placed_.graph.source(name, {Shape{floats}, DType::f32}, role);
  extend();
  fixed_[value] = location;
  return value;
}

std::vector<Value> Planner::after_lanes(const std::string& name, std::shared_ptr<const Op> op, std::vector<Value> in) {
  placed_.graph.set_section({target_.mesh.stage(), Phase::after_lanes});
  auto out = placed_.graph.add(name, std::move(op), std::move(in));
  extend();
  return out;
}

std::vector<Value> Planner::update(const std::string& name, std::shared_ptr<const Op> op, std::vector<Value> in,
                                   const std::vector<Value>& in_place) {
  auto out = after_lanes(name, std::move(op), std::move(in));
  for (size_t k = 0; k < out.size(); ++k) {
    placed_.graph.set_role(out[k], placed_.graph.info(in_place[k]).role);
    const Value to = out[k], from = in_place[k];
    placed_.local[to] = placed_.local[from];
    placed_.placement[to] = placed_.placement[from];
    placed_.slices[to] = placed_.slices[from];
    fixed_[to] = fixed_.at(from);
  }
  return out;
}

OwnedRanges Planner::owned(const std::vector<Bucket>& buckets) const {
  OwnedRanges all(static_cast<size_t>(target_.mesh.data_ranks()));
  for (size_t rank = 0; rank < all.size(); ++rank)
    for (const Bucket& bucket : buckets) {
      if (!bucket.gradients) continue;
      const Interval part = owned_bytes(bucket.begin, bucket.end, static_cast<int>(all.size()), static_cast<int>(rank));
      all[rank].push_back({static_cast<size_t>(part.begin), static_cast<size_t>(part.end), slot_bytes(all[rank])});
    }
  return all;
}

Value Planner::step_state() {
  const Value known = placed_.graph.find("step_state");
  if (known) return known;
  const Value value = placed_.graph.source("step_state", step_state_type(), Role::step_input);
  extend();
  return value;
}

void Planner::fix_variables() {
  for (Value v{0}; graph().has(v); ++v.id)
    if (is_variable(v)) fix(v, target_.layout.where.at(graph().info(v).name));
}

Step Planner::finish() {
  const auto if_read = [&](Value v) { return v && placed_.graph.info(v).role != Role::activation ? v : Value{}; };
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

void Planner::extend() {
  const size_t axes = target_.mesh.strategy().mesh.size();
  for (size_t v = placed_.local.size(); v < placed_.graph.values().size(); ++v)
    placed_.record(placed_.graph.values()[v].type, Placements(axes), std::vector<Slices>(axes));
}

}  // namespace lockstep
