#include "launch/plan_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

#include "parallel/traffic.h"

namespace lockstep {

namespace {

std::string bytes_text(size_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  const auto n = static_cast<double>(bytes);
  return bytes < (size_t{1} << 20) ? fmt::format("{:.1f} KiB", n / 0x1p10) : fmt::format("{:.1f} MiB", n / 0x1p20);
}

std::vector<std::string> names_of(const Network& network) {
  std::vector<std::string> names;
  for (const NetworkLayer& one : network.layers()) names.push_back(one.layer->name);
  return names;
}

std::string memory_text(const StepPlan& plan) {
  return fmt::format("memory of rank 0: {}, of it activations {}",
                     bytes_text(Executor::bytes(plan) + plan.memory.size(Region::Parameter) +
                                plan.memory.size(Region::State) + plan.memory.size(Region::Slot)),
                     bytes_text(plan.memory.size(Region::Arena)));
}

}  // namespace

std::string moved_text(const std::map<std::string, std::pair<int, size_t>>& moved) {
  std::vector<std::string> parts;
  for (const auto& [kind, what] : moved)
    parts.push_back(fmt::format("{} {} {}", what.first, kind, bytes_text(what.second)));
  return fmt::format("{}", fmt::join(parts, ", "));
}

PlanSummary summarise(const Network& network, const StepPlan& plan, const Mesh& mesh, const VariableLayout& layout,
                      bool reproducible) {
  const auto& axes = mesh.strategy().mesh;
  const std::vector<std::string> names = names_of(network);
  PlanSummary summary;
  auto& lines = summary.layers;
  const auto describe = [&](const std::string& layer, Value v) {
    const auto id = static_cast<size_t>(v.id);
    lines[layer].placement = plan.placement[id];
    lines[layer].output = plan.local[id].str();
    lines[layer].rank = plan.local[id].shape.rank();
  };
  const auto& values = plan.graph.values();
  for (size_t v = 0; v < values.size(); ++v)
    if (values[v].producer < 0 && values[v].role == Role::LaneInput) {
      const std::string layer = layer_of(values[v].name, names);
      if (!layer.empty()) describe(layer, {static_cast<int>(v)});
    }
  for (const Entry& entry : plan.order) {
    const Node& node = plan.graph.nodes()[static_cast<size_t>(entry.node)];
    const std::string layer = layer_of(node.name, names);
    if (layer.empty() || node.op->moves() || plan.graph.info(node.out[0]).primal >= 0) continue;
    if (node.name == layer || lines[layer].output.empty()) describe(layer, node.out[0]);
  }
  for (const Variable& variable : network.variables())
    lines[layer_of(variable.name, names)].parameters +=
        static_cast<size_t>(layout.local_shape(variable).elements()) * sizeof(float);
  for (const Collective& one : collectives(plan, mesh, reproducible)) {
    summary.sent += one.bytes;
    const std::string layer = layer_of(one.node, names);
    if (layer.empty()) {
      std::vector<std::string> over;
      for (int axis : one.axes) over.push_back(axes[static_cast<size_t>(axis)].name);
      summary.sums += fmt::format("  {:<24} {:>12} over {}\n", one.node, bytes_text(one.bytes), fmt::join(over, ", "));
      continue;
    }
    auto& [count, bytes] = lines[layer].moved[one.kind];
    ++count;
    bytes += one.bytes;
  }
  return summary;
}

std::string plan_table(const Network& network, const PlanSummary& summary, const StepPlan& plan, const Mesh& mesh) {
  const auto& axes = mesh.strategy().mesh;
  std::string text = fmt::format("{:<28} {:<28} {:<26} {:>12}  {}\n", "layer", "placement", "output of a lane",
                                 "variables", "sent a step");
  for (const NetworkLayer& one : network.layers()) {
    const auto found = summary.layers.find(one.layer->name);
    const PlannedLayer line = found == summary.layers.end() ? PlannedLayer{} : found->second;
    std::string placed;
    for (size_t axis = 0; axis < line.placement.size(); ++axis)
      placed += fmt::format("{}{}:{}", axis ? " " : "", axes[axis].name, line.placement[axis].str());
    // What is fused into another layer's operator has no output of its own.
    text += fmt::format("{:<28} {:<28} {:<26} {:>12}  {}\n", one.layer->name, placed,
                        line.output.empty() ? "(fused)" : line.output,
                        line.parameters ? bytes_text(line.parameters) : "", moved_text(line.moved));
  }
  return text + fmt::format("\nsums over the batch:\n{}\nsent by rank 0 in a step: {}\n{}\n", summary.sums,
                            bytes_text(summary.sent), memory_text(plan));
}

}  // namespace lockstep
