#include "parallel/mesh/stages.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>

#include "core/error.h"

namespace lockstep {

namespace {

/// A layer with nodes of its own, in the order of the first of them.
struct Stop {
  std::string layer;
  double work = 0;
  int stage = 0;
};

/// Shares consecutive stops out so that the largest sum is as small as can be; among equal ones the first stages get
/// the most.
void balance(std::vector<Stop>& stops, int stages) {
  const size_t n = stops.size(), k = static_cast<size_t>(stages);
  std::vector<double> before(n + 1);
  for (size_t i = 0; i < n; ++i) before[i + 1] = before[i] + stops[i].work;
  constexpr double none = std::numeric_limits<double>::infinity();
  // best[s][i]: the largest sum where stages s.. share the stops i..; from[s][i]: where the stage after s begins.
  std::vector<std::vector<double>> best(k + 1, std::vector<double>(n + 1, none));
  std::vector<std::vector<size_t>> from(k + 1, std::vector<size_t>(n + 1));
  best[k][n] = 0;
  for (size_t s = k; s-- > 0;)
    for (size_t i = 0; i < n; ++i)
      for (size_t next = i + 1; next <= n; ++next)
        if (const double largest = std::max(before[next] - before[i], best[s + 1][next]); largest <= best[s][i]) {
          best[s][i] = largest;
          from[s][i] = next;
        }
  size_t at = 0;
  for (size_t s = 0; s < k; ++s)
    for (const size_t next = from[s][at]; at < next; ++at) stops[at].stage = static_cast<int>(s);
}

std::optional<int> pinned_stage(const Strategy& strategy, const std::string& layer) {
  for (auto pin = strategy.pins.rbegin(); pin != strategy.pins.rend(); ++pin)
    if (pin->stage && matches(pin->layers, layer)) return pin->stage;
  return std::nullopt;
}

/// Throws where a node reads what a later stage makes.
void check_flow(const Graph& graph) {
  for (const Node& node : graph.nodes())
    for (Value v : node.in)
      if (const int made = graph.stage_of(v, 0); made > node.section.stage)
        throw InputError("'{}' is on stage {}, but reads '{}' of stage {}: a pipeline's stages read earlier ones alone",
                         node.name, node.section.stage, graph.info(v).name, made);
}

}  // namespace

double work_of(const Graph& graph, const Node& node) {
  constexpr double adds_a_byte = 10;
  Signature signature;
  for (Value v : node.in) signature.in.push_back(graph.type(v));
  for (Value v : node.out) signature.out.push_back(graph.type(v));
  return adds_a_byte * node.op->bytes(signature) + node.op->flops(signature) / 2;
}

std::map<std::string, int> place_layers(const Graph& forward, std::span<const std::string> layers,
                                        const Strategy& strategy, const std::map<std::string, std::string>& taken) {
  const int stages = strategy.stages();
  const bool pinned = std::ranges::any_of(strategy.pins, [](const Pin& pin) { return pin.stage.has_value(); });
  for (const Pin& pin : strategy.pins)
    if (pin.stage && (*pin.stage < 0 || *pin.stage >= stages))
      throw InputError("pin '{}' names stage {}, expected 0 to {}", pin.layers, *pin.stage, stages - 1);
  std::vector<Stop> stops;
  std::map<std::string, size_t> index;
  for (const Node& node : forward.nodes()) {
    const std::string layer = layer_of(node.name, layers);
    if (layer.empty()) continue;
    const auto [at, isnew] = index.try_emplace(layer, stops.size());
    if (isnew) stops.push_back({layer});
    Stop& stop = stops[at->second];
    stop.work += work_of(forward, node);
    if (const auto stage = pinned_stage(strategy, layer)) {
      stop.stage = *stage;
      continue;
    }
    for (Value v : node.in) {
      const int producer = forward.info(v).producer;
      if (producer < 0) continue;
      const auto from = index.find(layer_of(forward.node(producer).name, layers));
      if (from != index.end()) stop.stage = std::max(stop.stage, stops[from->second].stage);
    }
  }
  if (stops.size() < static_cast<size_t>(stages))
    throw InputError("mesh axis 'stage' has {} members, but the model has {} layer{} that compute something", stages,
                     stops.size(), stops.size() == 1 ? "" : "s");
  if (!pinned) balance(stops, stages);
  std::map<std::string, int> placed;
  std::vector<bool> used(static_cast<size_t>(stages));
  for (const Stop& stop : stops) {
    placed[stop.layer] = stop.stage;
    used[static_cast<size_t>(stop.stage)] = true;
  }
  for (const auto& [part, whole] : taken) {
    const std::string inner = layer_of(part, layers), outer = layer_of(whole, layers);
    if (inner.empty() || placed.contains(inner) || !placed.contains(outer)) continue;
    const int stage = placed.at(outer);
    if (const auto pin = pinned_stage(strategy, inner); pin && *pin != stage)
      throw InputError("'{}' is pinned to stage {}, but it is computed as a part of '{}', which is on stage {}", inner,
                       *pin, outer, stage);
    placed[inner] = stage;
  }
  if (const auto idle = std::ranges::find(used, false); idle != used.end())
    throw InputError("no layer is on stage {} of {}: pin some there", idle - used.begin(), stages);
  return placed;
}

void assign_stages(Graph& forward, const Strategy& strategy) {
  std::vector<std::string> layers;
  for (const auto& [layer, stage] : strategy.layer_stages) layers.push_back(layer);
  for (size_t i = 0; i < forward.nodes().size(); ++i) {
    const Node& node = forward.nodes()[i];
    int stage = node.section.stage;
    if (stage > 0) continue;
    if (const std::string layer = layer_of(node.name, layers); !layer.empty())
      stage = strategy.layer_stages.at(layer);
    else
      for (Value v : node.in) stage = std::max(stage, forward.stage_of(v, 0));
    forward.set_stage(static_cast<int>(i), stage);
  }
  check_flow(forward);
}

std::vector<double> work_by_stage(const Graph& forward, const Strategy& strategy) {
  std::vector<double> work(static_cast<size_t>(strategy.stages()));
  for (const Node& node : forward.nodes()) work[static_cast<size_t>(node.section.stage)] += work_of(forward, node);
  return work;
}

std::vector<Turn> turns_of(PipelineSchedule schedule, int stage, int stages, int lanes) {
  // A stage begins with as many lanes as there are stages after it; from then on it ends one for each that it begins.
  const int ahead = schedule == PipelineSchedule::gpipe ? lanes : std::min(stages - 1 - stage, lanes);
  std::vector<Turn> turns;
  for (int lane = 0; lane < lanes + ahead; ++lane) {
    if (lane < lanes) turns.push_back({lane, Phase::forward});
    if (lane >= ahead) turns.push_back({lane - ahead, Phase::backward});
  }
  return turns;
}

int lanes_in_flight(const std::vector<Turn>& turns) {
  int now = 0, most = 1;
  for (const Turn& turn : turns) most = std::max(most, now += turn.phase == Phase::forward ? 1 : -1);
  return most;
}

double makespan(PipelineSchedule schedule, std::span<const StageCost> stages, int lanes, double at_once) {
  constexpr double never = std::numeric_limits<double>::infinity();
  const size_t n = stages.size();
  // When the stage has what its turn for the lane reads.
  std::vector<std::vector<double>> output(n, std::vector<double>(static_cast<size_t>(lanes), never)), gradient = output;
  std::ranges::fill(output.front(), 0.0);
  std::vector<std::vector<Turn>> turns;
  for (size_t s = 0; s < n; ++s) turns.push_back(turns_of(schedule, static_cast<int>(s), static_cast<int>(n), lanes));
  std::vector<size_t> next(n);
  std::vector<std::optional<double>> left(n);  // of the turn that is under way
  for (double now = 0;;) {
    double arrives = never, least = never;
    int active = 0;
    for (size_t s = 0; s < n; ++s) {
      if (next[s] == turns[s].size()) continue;
      const auto [lane, phase] = turns[s][next[s]];
      const bool ahead = phase == Phase::forward;
      const double ready = (ahead ? output : gradient)[s][static_cast<size_t>(lane)];
      if (!left[s] && ready <= now) left[s] = stages[s].work * (ahead ? 1 : 2);
      if (left[s]) {
        ++active;
        least = std::min(least, *left[s]);
      } else {
        arrives = std::min(arrives, ready);
      }
    }
    if (active == 0 && arrives == never) return now;
    const double rate = std::min(1.0, at_once / active);
    const bool ends = active > 0 && now + least / rate <= arrives;
    const double done = ends ? least : active > 0 ? (arrives - now) * rate : 0;
    now = ends ? now + least / rate : arrives;
    for (size_t s = 0; s < n; ++s) {
      if (!left[s]) continue;
      *left[s] -= done;
      if (!ends || *left[s] > 0) continue;
      const auto [lane, phase] = turns[s][next[s]++];
      const auto l = static_cast<size_t>(lane);
      left[s].reset();
      if (phase == Phase::backward) {
        if (s > 0) gradient[s - 1][l] = now + stages[s].to_previous;
      } else if (s + 1 < n) {
        output[s + 1][l] = now + stages[s].to_next;
      } else {
        gradient[s][l] = now;
      }
    }
  }
}

double bubble_share(PipelineSchedule schedule, std::span<const double> work, int lanes) {
  std::vector<StageCost> stages;
  for (const double one : work) stages.push_back({.work = one});
  const double busy = 3 * lanes * std::accumulate(work.begin(), work.end(), 0.0) / static_cast<double>(work.size());
  return 1 - busy / makespan(schedule, stages, lanes);
}

}  // namespace lockstep
