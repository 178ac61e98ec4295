#include "launch/plan/view/plan_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace lockstep {

std::string bytes_text(size_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  const auto n = static_cast<double>(bytes);
  return bytes < (size_t{1} << 20) ? fmt::format("{:.1f} KiB", n / 0x1p10) : fmt::format("{:.1f} MiB", n / 0x1p20);
}

std::string moved_text(const std::map<std::string, std::pair<int, size_t>>& moved) {
  std::vector<std::string> parts;
  for (const auto& [kind, what] : moved)
    parts.push_back(fmt::format("{} {} {}", what.first, kind, bytes_text(what.second)));
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string plan_table(const Network& network, const PlanSummary& summary, const Mesh& mesh,
                       const std::string& pipeline) {
  const auto& axes = mesh.strategy().mesh;
  const size_t stage_axis = mesh.strategy().stage_axis();
  std::string text = fmt::format("{:<28} {:<28} {:<26} {:>12}  {}\n", "layer", "placement", "output of a lane",
                                 "variables", "sent a step");
  for (const NetworkLayer& one : network.layers()) {
    const auto found = summary.layers.find(one.layer->name);
    const PlannedLayer line = found == summary.layers.end() ? PlannedLayer{} : found->second;
    std::string placed;
    for (size_t axis = 0; axis < line.placement.size(); ++axis)
      placed += fmt::format("{}{}:{}", axis ? " " : "", axes[axis].name,
                            axis > 0 && axis == stage_axis ? std::to_string(line.stage) : line.placement[axis].str());
    // What is fused into another layer's operator has no output of its own.
    text += fmt::format("{:<28} {:<28} {:<26} {:>12}  {}\n", one.layer->name, placed,
                        line.output.empty() ? "(fused)" : line.output,
                        line.parameters ? bytes_text(line.parameters) : "", moved_text(line.moved));
  }
  for (const PlannedRank& rank : summary.ranks) {
    const std::string who = stage_axis == 0 ? "rank 0" : fmt::format("a rank of stage {}", rank.stage);
    text += fmt::format("\nsums over the batch{}:\n{}sent by {} in a step: {}\n",
                        stage_axis == 0 ? "" : fmt::format(", stage {}", rank.stage), rank.sums, who,
                        bytes_text(rank.sent));
    text += fmt::format("memory of {}: {}, of it activations {}{}\n", who, bytes_text(rank.memory),
                        bytes_text(rank.activations),
                        stage_axis == 0 ? "" : fmt::format(" (lanes in flight: {})", rank.in_flight));
  }
  return text + pipeline;
}

}  // namespace lockstep
