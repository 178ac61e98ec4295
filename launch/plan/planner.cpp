#include "launch/plan/planner.h"

#include <numeric>

#include "core/log.h"
#include "layers/passes/fuse.h"
#include "layers/passes/split_norms.h"

namespace lockstep {

int lanes_of(const StepOptions& options, const Mesh& mesh) {
  return options.numerics == Numerics::fast ? mesh.data_ranks() : options.lanes;
}

Strategy over_lanes(const Mesh& mesh, int lanes) {
  Strategy strategy = mesh.strategy();
  strategy.mesh[0].size = lanes;
  return strategy;
}

/// What a network's graph is for, without a loss.
static std::vector<Value> kept_of(const Built& built) {
  std::vector<Value> keep{built.output};
  for (const auto& tracked : built.tracked) keep.push_back(tracked.moments);
  return keep;
}

Strategy with_stages(const Network& network, const StepOptions& options, int ranks) {
  check_batch(options, ranks);
  Strategy strategy = options.strategy;
  const std::vector<std::string> layers = network.layer_names();
  check_pins(strategy, layers);
  if (strategy.stages() == 1 || !strategy.layer_stages.empty()) return strategy;
  Built built = network.build(options.batch, options.lanes, true);
  const auto taken = fuse_for(strategy, built.graph, kept_of(built));
  strategy.layer_stages = place_layers(built.graph, layers, strategy, taken);
  assign_stages(built.graph, strategy);  // which refuses what cannot be
  return strategy;
}

std::string describe_pipeline(const Network& network, const StepOptions& options, const Mesh& mesh) {
  const Strategy& strategy = mesh.strategy();
  if (strategy.stages() == 1) return {};
  Built built = network.build(options.batch, options.lanes, true);
  fuse_for(strategy, built.graph, kept_of(built));
  const std::vector<double> work = work_by_stage(built.graph, strategy);
  const double all = std::accumulate(work.begin(), work.end(), 0.0);
  const int lanes = options.lanes / mesh.data_ranks();
  std::string text = fmt::format("\npipeline {}, {} lanes a rank\n", name_of(strategy.schedule), lanes);
  for (int stage = 0; stage < strategy.stages(); ++stage) {
    std::vector<std::string> layers;
    for (const NetworkLayer& layer : network.layers()) {
      const auto found = strategy.layer_stages.find(layer.layer->name);
      if (found != strategy.layer_stages.end() && found->second == stage) layers.push_back(found->first);
    }
    text += fmt::format("stage {}: {:.1f} % of the estimated work, {} to {}\n", stage,
                        100 * work[static_cast<size_t>(stage)] / all, layers.front(), layers.back());
  }
  const std::vector<double> equal(work.size(), 1.0);
  return text +
         fmt::format(
             "stages wait for {:.1f} % of a step ({:.1f} % if their work were equal), without the time of sending\n",
             100 * bubble_share(strategy.schedule, work, lanes), 100 * bubble_share(strategy.schedule, equal, lanes));
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
  const auto& values = graph.values();
  for (size_t v = 0; v < values.size(); ++v)
    if (values[v].role == Role::LaneInput) request.sources[static_cast<int>(v)] = {shard(0)};
  return request;
}

Shards place_variables(const Network& network, const StepOptions& options, const Mesh& mesh) {
  Shards shards;
  if (mesh.strategy().mesh.size() == 1) return shards;
  const int lanes = lanes_of(options, mesh);
  // As a training step sees them.
  Built built = network.build(options.batch, lanes, true);
  Graph& graph = built.graph;
  fuse_for(mesh.strategy(), graph, kept_of(built));
  std::vector<Value> ends;
  PlacedGraph placed = propagate(graph, over_lanes(mesh, lanes), request_of(graph, mesh), ends);
  if (mesh.world().rank() == 0)
    for (const std::string& note : placed.notes) log().warn("{}", note);
  for (const auto& tracked : built.tracked)  // a statistic lies as what it is taken of
    for (const Value moving : {tracked.mean, tracked.variance}) {
      const auto from = static_cast<size_t>(tracked.moments.id), to = static_cast<size_t>(moving.id);
      placed.placement[to] = placed.placement[from];
      std::ranges::replace(placed.placement[to], partial, replicate);
      placed.slices[to] = placed.slices[from];
      placed.local[to].shape[0] = placed.local[from].shape[0];
    }
  std::vector<std::string> layers;
  for (const auto& [layer, stage] : mesh.strategy().layer_stages) layers.push_back(layer);
  for (size_t v = 0; v < graph.values().size(); ++v) {
    const ValueInfo& info = graph.values()[v];
    if (info.role != Role::Parameter && info.role != Role::State) continue;
    Shard shard{placed.placement[v], placed.slices[v], placed.local[v].shape};
    if (const size_t axis = mesh.strategy().stage_axis()) {
      shard.stage_axis = axis;
      shard.stage = mesh.strategy().layer_stages.at(layer_of(info.name, layers));
      if (shard.stage != mesh.stage()) shard.local[0] = 0;
    }
    if (shard.stage >= 0 || std::ranges::any_of(shard.slices, [](const Slices& cut) { return !cut.empty(); }))
      shards[info.name] = std::move(shard);
  }
  return shards;
}

}  // namespace lockstep
