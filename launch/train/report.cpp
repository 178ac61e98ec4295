#include "launch/train/report.h"

#include <fmt/format.h>

namespace lockstep {

std::vector<std::pair<std::string, double>> measures(const Report& report) {
  std::vector<std::pair<std::string, double>> all{{"loss", double{report.loss}}};
  const auto add = [&](const std::string& prefix, const std::vector<MetricValue>& metrics) {
    for (const auto& [name, values] : metrics)
      if (values.size() == 1) all.emplace_back(prefix + name, values[0]);
  };
  add("", report.metrics);
  if (report.validation) {
    all.emplace_back("val_loss", report.validation->loss);
    add("val_", report.validation->metrics);
  }
  return all;
}

double accuracy_of(const std::vector<MetricValue>& metrics) {
  for (const auto& [name, values] : metrics)
    if (name == "accuracy") return values.at(0);
  return std::numeric_limits<double>::quiet_NaN();
}

std::string metrics_text(const std::vector<MetricValue>& metrics, std::string_view end, std::string_view begin) {
  std::string text;
  for (const auto& [name, values] : metrics) {
    if (values.size() != 1) continue;
    const bool share = name.find("accuracy") != std::string::npos;
    text += share ? fmt::format("{}{} {:.2f} %{}", begin, name, 100 * values[0], end)
                  : fmt::format("{}{} {:.4f}{}", begin, name, values[0], end);
  }
  return text;
}

}  // namespace lockstep
