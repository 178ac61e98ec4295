#include "launch/plan/view/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>

namespace lockstep {

namespace {

/// What some nodes came to, over all steps.
struct Line {
  std::string name, what;
  double seconds = 0, flops = 0, bytes = 0;

  void add(const Line& other) {
    seconds += other.seconds;
    flops += other.flops;
    bytes += other.bytes;
  }
};

Line line_of(const StepPlan& plan, const NodeTimes& times, int index) {
  const Node& node = plan.graph.node(index);
  const auto runs = static_cast<double>(times.runs[index]);
  const std::string attributes = node.op->attributes();
  const Signature signature = plan.signature(node);
  Line line{node.name, std::string(node.op->name()), times.seconds[index], runs * node.op->flops(signature),
            runs * node.op->bytes(signature)};
  if (!attributes.empty()) line.what += " " + attributes;
  for (const Value v : node.out) line.what += " " + plan.local[v].shape.str();
  return line;
}

std::string text_of(const Line& line, double steps, double all) {
  const auto rate = [&](double work) {
    return work > 0 && line.seconds > 0 ? fmt::format("{:.1f}", work / line.seconds * 1e-9) : "";
  };
  return fmt::format("{:>9.3f} {:>6.1f} {:>9} {:>8}  {}{}{}\n", line.seconds / steps * 1e3, line.seconds / all * 100,
                     rate(line.flops), rate(line.bytes), line.name, line.what.empty() ? "" : "  ", line.what);
}

}  // namespace

std::string profile_table(const StepPlan& plan, const NodeTimes& times, int64_t steps) {
  std::vector<Line> lines;
  std::map<std::string, Line> operators;
  Line whole;
  whole.name = "all nodes";
  for (int index = 0; plan.graph.has_node(index); ++index) {
    if (times.runs[index] == 0) continue;
    lines.push_back(line_of(plan, times, index));
    Line& sum = operators[std::string(plan.graph.node(index).op->name())];
    sum.name = plan.graph.node(index).op->name();
    sum.add(lines.back());
    whole.add(lines.back());
  }
  const auto sorted = [](std::vector<Line>& some) { std::ranges::stable_sort(some, std::greater{}, &Line::seconds); };
  sorted(lines);
  std::vector<Line> sums;
  for (const auto& [name, sum] : operators) sums.push_back(sum);
  sorted(sums);
  const auto count = static_cast<double>(steps);
  std::string text = fmt::format("{:>9} {:>6} {:>9} {:>8}\n", "ms/step", "%", "GFLOP/s", "GB/s");
  for (const Line& line : lines) text += text_of(line, count, whole.seconds);
  text += "\nby operator\n";
  for (const Line& line : sums) text += text_of(line, count, whole.seconds);
  return text + text_of(whole, count, whole.seconds);
}

}  // namespace lockstep
