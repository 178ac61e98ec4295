#include "launch/plan/view/draw.h"

#include <fmt/format.h>

#include <array>

namespace lockstep {

namespace {

constexpr int row_height = 56, side = 44, bar = 12;

/// Members of the axis that cuts dimension `dim`, and its name; 1 where none does.
struct CutOf {
  int64_t members = 1;
  std::string axis = {};
};
CutOf cut_of(const PlannedLayer& layer, const Mesh& mesh, int dim) {
  const auto& axes = mesh.strategy().mesh;
  for (size_t axis = 1; axis < layer.placement.size(); ++axis)
    if (layer.placement[axis] == shard(dim)) return {axes[axis].size, axes[axis].name};
  return {};
}

const char* colour(int64_t member) {
  constexpr std::array<const char*, 8> all{"#4e79a7", "#f28e2b", "#59a14f", "#e15759",
                                           "#b07aa1", "#edc948", "#76b7b2", "#9c755f"};
  return all[static_cast<size_t>(member) % all.size()];
}

std::string box(double x, double y, double width, double height, const char* fill) {
  return fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\" stroke=\"white\"/>\n", x, y,
      width, height, fill);
}

/// The text with XML's own characters escaped.
std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : std::string(1, c);
  return out;
}

std::string label(double x, double y, const std::string& text, const char* colour = "#333") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" fill=\"{}\">{}</text>\n", x, y, colour, escaped(text));
}

}  // namespace

std::string draw_plan(const Network& network, const PlanSummary& summary, const Mesh& mesh) {
  const auto& axes = mesh.strategy().mesh;
  std::string heading = network.name();
  for (size_t axis = 1; axis < axes.size(); ++axis) heading += fmt::format("  {}={}", axes[axis].name, axes[axis].size);
  std::string body = label(16, 26, heading);
  double y = 44;
  for (const NetworkLayer& one : network.layers()) {
    const auto found = summary.layers.find(one.layer->name);
    if (found == summary.layers.end() || found->second.placement.empty()) continue;
    const PlannedLayer& layer = found->second;
    const double x = 250;
    body += label(16, y + 26, one.layer->name);
    const bool image = layer.rank == 4;
    const CutOf rows = image ? cut_of(layer, mesh, 1) : CutOf{}, columns = image ? cut_of(layer, mesh, 2) : CutOf{};
    const CutOf channels = cut_of(layer, mesh, layer.rank - 1);
    if (image)
      for (int64_t r = 0; r < rows.members; ++r)
        for (int64_t c = 0; c < columns.members; ++c)
          body += box(x + static_cast<double>(c * side) / static_cast<double>(columns.members),
                      y + static_cast<double>(r * side) / static_cast<double>(rows.members),
                      static_cast<double>(side) / static_cast<double>(columns.members),
                      static_cast<double>(side) / static_cast<double>(rows.members),
                      rows.members * columns.members == 1 ? "#bbb" : colour(r * columns.members + c));
    for (int64_t k = 0; k < channels.members; ++k)
      body += box(x + side + 8, y + static_cast<double>(k * side) / static_cast<double>(channels.members), bar,
                  static_cast<double>(side) / static_cast<double>(channels.members),
                  channels.members == 1 ? "#bbb" : colour(k));
    std::string cuts;
    for (const auto& [what, cut] : {std::pair{"rows", rows}, {"columns", columns}, {"channels", channels}})
      if (cut.members > 1) cuts += fmt::format("{}{} by {}", cuts.empty() ? "" : ", ", what, cut.axis);
    if (cuts.empty()) cuts = "whole";
    if (mesh.strategy().stages() > 1) cuts += fmt::format(", stage {}", layer.stage);
    body += label(x + side + 40, y + 18, layer.output + "  " + cuts);
    body += label(x + side + 40, y + 36, moved_text(layer.moved), "#888");
    y += row_height;
  }
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"900\" height=\"{:.0f}\" font-family=\"sans-serif\" "
             "font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
             y + 12) +
         body + "</svg>\n";
}

}  // namespace lockstep
