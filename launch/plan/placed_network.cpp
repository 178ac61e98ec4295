#include "launch/plan/placed_network.h"

#include <algorithm>
#include <numeric>

#include "core/log.h"
#include "launch/plan/planner.h"
#include "parallel/mesh/stages.h"
#include "parallel/placement/pipeline.h"

namespace lockstep {

/// What a network's graph is for, without a loss.
static std::vector<Value> kept_of(const Built& built) {
  std::vector<Value> keep{built.output};
  for (const auto& tracked : built.tracked) keep.push_back(tracked.moments);
  return keep;
}

PlacedNetwork::PlacedNetwork(const Network& network, const StepOptions& options, int ranks)
    : network_(network), strategy_(options.strategy), batch_(options.batch) {
  check_batch(options, ranks);
  const std::vector<std::string> layers = network.layer_names();
  check_pins(strategy_, layers);
  lanes_ = lanes_of(options, ranks / static_cast<int>(strategy_.ranks_per_lane()));
  if (strategy_.stages() == 1 || !strategy_.layer_stages.empty()) return;
  const auto taken = build();
  strategy_.layer_stages = place_layers(built_->graph, layers, strategy_, taken);
  assign_stages(built_->graph, strategy_);  // which refuses what cannot be
}

std::map<std::string, std::string> PlacedNetwork::build() {
  built_ = network_.build(batch_, lanes_, true);
  return fuse_for(strategy_, built_->graph, kept_of(*built_));
}

Graph& PlacedNetwork::graph() {
  if (!built_) build();
  return built_->graph;
}

Shards PlacedNetwork::shards(const Mesh& mesh) {
  Shards shards;
  if (strategy_.mesh.size() == 1) return shards;
  const Graph& graph = this->graph();
  std::vector<Value> ends;
  PlacedGraph placed = propagate(graph, over_lanes(mesh, lanes_), request_of(graph, mesh), ends);
  if (mesh.world().rank() == 0)
    for (const std::string& note : placed.notes) warn_once(note);
  for (const auto& tracked : built_->tracked)  // a statistic lies as what it is taken of
    for (const Value moving : {tracked.mean, tracked.variance}) {
      placed.placement[moving] = placed.placement[tracked.moments];
      std::ranges::replace(placed.placement[moving], partial, replicate);
      placed.slices[moving] = placed.slices[tracked.moments];
      placed.local[moving].shape[0] = placed.local[tracked.moments].shape[0];
    }
  std::vector<std::string> layers;
  for (const auto& [layer, stage] : strategy_.layer_stages) layers.push_back(layer);
  for (Value v{0}; graph.has(v); ++v.id) {
    const ValueInfo& info = graph.info(v);
    if (info.role != Role::parameter && info.role != Role::state) continue;
    Shard shard{placed.placement[v], placed.slices[v], placed.local[v].shape};
    if (const size_t axis = strategy_.stage_axis()) {
      shard.stage_axis = axis;
      shard.stage = strategy_.layer_stages.at(layer_of(info.name, layers));
      if (shard.stage != mesh.stage()) shard.local[0] = 0;
    }
    if (shard.stage >= 0 || std::ranges::any_of(shard.slices, [](const Slices& cut) { return !cut.empty(); }))
      shards[info.name] = std::move(shard);
  }
  return shards;
}

std::string PlacedNetwork::describe_stages(int lanes) {
  if (strategy_.stages() == 1) return {};
  const std::vector<double> work = work_by_stage(graph(), strategy_);
  const double all = std::accumulate(work.begin(), work.end(), 0.0);
  std::string text = fmt::format("\npipeline {}, {} lanes a rank\n", name_of(strategy_.schedule), lanes);
  for (int stage = 0; stage < strategy_.stages(); ++stage) {
    std::vector<std::string> layers;
    for (const NetworkLayer& layer : network_.layers()) {
      const auto found = strategy_.layer_stages.find(layer.layer->name);
      if (found != strategy_.layer_stages.end() && found->second == stage) layers.push_back(found->first);
    }
    text += fmt::format("stage {}: {:.1f} % of the estimated work, {} to {}\n", stage,
                        100 * work[static_cast<size_t>(stage)] / all, layers.front(), layers.back());
  }
  const std::vector<double> equal(work.size(), 1.0);
  return text +
         fmt::format(
             "stages wait for {:.1f} % of a step ({:.1f} % if their work were equal), without the time of sending\n",
             100 * bubble_share(strategy_.schedule, work, lanes), 100 * bubble_share(strategy_.schedule, equal, lanes));
}

}  // namespace lockstep
