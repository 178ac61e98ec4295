#include "launch/plan/view/plan_summary.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "launch/plan/view/plan_table.h"
#include "parallel/comm/gather.h"
#include "parallel/placement/traffic.h"

namespace lockstep {

namespace {

using Json = nlohmann::ordered_json;

/// What every rank says, by rank.
std::vector<std::string> gather_text(Communicator& comm, const std::string& mine) {
  const size_t longest = std::ranges::max(gather(comm, mine.size()));
  std::string padded = mine + std::string(longest - mine.size(), ' '),
              all(longest * static_cast<size_t>(comm.size()), ' ');
  InlineStream now;
  comm.all_gather(reinterpret_cast<const std::byte*>(padded.data()), reinterpret_cast<std::byte*>(all.data()), longest,
                  now);
  std::vector<std::string> said;
  for (size_t rank = 0; rank < static_cast<size_t>(comm.size()); ++rank)
    said.push_back(all.substr(rank * longest, longest));
  return said;
}

Json to_json(const PlanSummary& summary) {
  Json layers = Json::object();
  for (const auto& [name, layer] : summary.layers) {
    Json placement = Json::array();
    for (const Placement& p : layer.placement) placement.push_back({static_cast<int>(p.kind), p.dim});
    layers[name] = {{"placement", placement},         {"output", layer.output}, {"rank", layer.rank},
                    {"parameters", layer.parameters}, {"moved", layer.moved},   {"stage", layer.stage}};
  }
  const PlannedRank& rank = summary.ranks.at(0);
  return {{"layers", layers},           {"stage", rank.stage},   {"sums", rank.sums},
          {"sent", rank.sent},          {"memory", rank.memory}, {"activations", rank.activations},
          {"in_flight", rank.in_flight}};
}

void add_json(PlanSummary& summary, const Json& json) {
  for (const auto& [name, from] : json["layers"].items()) {
    PlannedLayer& layer = summary.layers[name];
    const auto moved = from["moved"].get<Moved>();
    for (const auto& [kind, what] : moved) {
      layer.moved[kind].first += what.first;
      layer.moved[kind].second += what.second;
    }
    layer.parameters += from["parameters"].get<size_t>();
    // Where another stage only receives it, the one that makes it counts.
    if (from["output"].get<std::string>().empty() || !layer.output.empty()) continue;
    layer.output = from["output"].get<std::string>();
    layer.rank = from["rank"].get<int>();
    layer.stage = from["stage"].get<int>();
    for (const Json& p : from["placement"])
      layer.placement.push_back({static_cast<Placement::Kind>(p[0].get<int>()), p[1].get<int>()});
  }
  summary.ranks.push_back({json["stage"].get<int>(), json["sums"].get<std::string>(), json["sent"].get<size_t>(),
                           json["memory"].get<size_t>(), json["activations"].get<size_t>(),
                           json["in_flight"].get<int>()});
}

}  // namespace

PlanSummary summarise(const Network& network, const StepPlan& plan, const Mesh& mesh, const VariableLayout& layout,
                      Numerics numerics) {
  const auto& axes = mesh.strategy().mesh;
  const std::vector<std::string> names = network.layer_names();
  PlanSummary summary;
  auto& lines = summary.layers;
  PlannedRank rank{.stage = mesh.stage(),
                   .memory = Executor::bytes(plan) + plan.memory.size(Region::parameter) +
                             plan.memory.size(Region::state) + plan.memory.size(Region::slot),
                   .activations = plan.memory.size(Region::arena) +
                                  plan.memory.size(Region::stash) * static_cast<size_t>(plan.in_flight),
                   .in_flight = plan.in_flight};
  const auto describe = [&](const std::string& layer, Value v) {
    lines[layer].placement = plan.placement[v];
    lines[layer].output = plan.local[v].str();
    lines[layer].rank = plan.local[v].shape.rank();
    lines[layer].stage = mesh.stage();
  };
  for (Value v{0}; plan.graph.has(v); ++v.id)
    if (const ValueInfo& info = plan.graph.info(v); info.producer < 0 && info.role == Role::lane_input) {
      const std::string layer = layer_of(info.name, names);
      if (!layer.empty()) describe(layer, v);
    }
  for (const Entry& entry : plan.order) {
    const Node& node = plan.graph.node(entry.node);
    const std::string layer = layer_of(node.name, names);
    if (layer.empty() || node.op->moves() || plan.graph.info(node.out[0]).primal) continue;
    if (node.name == layer || lines[layer].output.empty()) describe(layer, node.out[0]);
  }
  for (const Variable& variable : network.variables())
    lines[layer_of(variable.name, names)].parameters +=
        static_cast<size_t>(layout.local_shape(variable).elements()) * sizeof(float);
  for (const Collective& one : collectives(plan, mesh, numerics)) {
    rank.sent += one.bytes;
    const std::string layer = layer_of(one.node, names);
    if (layer.empty()) {
      std::vector<std::string> over;
      for (int axis : one.axes) over.push_back(axes[static_cast<size_t>(axis)].name);
      rank.sums += fmt::format("  {:<24} {:>12} over {}\n", one.node, bytes_text(one.bytes), fmt::join(over, ", "));
      continue;
    }
    auto& [count, bytes] = lines[layer].moved[one.kind];
    ++count;
    bytes += one.bytes;
  }
  summary.ranks.push_back(std::move(rank));
  return summary;
}

PlanSummary gather_stages(const PlanSummary& mine, const Mesh& mesh, Communicator& host) {
  const size_t axis = mesh.strategy().stage_axis();
  if (axis == 0) return mine;
  const std::vector<int64_t> places = mesh.coordinates();
  bool first = mesh.data_rank() == 0;
  for (size_t other = 1; other <= places.size(); ++other)
    if (other != axis && places[other - 1] != 0) first = false;
  PlanSummary all;
  for (const std::string& said : gather_text(host, first ? to_json(mine).dump() : ""))
    if (said.find_first_not_of(' ') != std::string::npos) add_json(all, Json::parse(said));
  std::ranges::sort(all.ranks, {}, &PlannedRank::stage);
  return all;
}

}  // namespace lockstep
