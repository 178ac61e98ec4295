// What is minimised, and what is measured beside it.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <span>

#include "core/error.h"
#include "launch/cli/options/options.h"

namespace lockstep::cli {

void add_loss_options(CLI::App& verb, Options& options) {
  verb.option_defaults()->group("Loss and metrics");
  verb.add_option("--loss", options.loss,
                  "What is minimised. The mean errors and huber take numbers as targets, which no kind of --data has: "
                  "they are for programs in C++")
      ->type_name(alternatives(Loss::names()))
      ->capture_default_str();
  verb.add_option("--label-smoothing", options.label_smoothing,
                  "Of cross-entropies of distributions: so much of the targets' weight is shared by all classes")
      ->capture_default_str();
  verb.add_option("--metrics", options.metrics,
                  "One, or some with commas between; top_k:3 and the like; auto is accuracy where there are classes")
      ->type_name("none|" + alternatives(Metric::names()) + several)
      ->delimiter(',')
      ->capture_default_str();
}

Loss loss(const Options& options) {
  Loss chosen = options.loss;
  if (options.label_smoothing != 0) chosen.set_label_smoothing(options.label_smoothing);
  return chosen;
}

Loss loss_of_data(const Options& options) {
  Loss chosen = loss(options);
  if (chosen.family() == Loss::Family::values)
    throw InputError(
        "--loss {}: takes numbers as targets, and no kind of --data has such: expected one of the cross-entropies (a "
        "program in C++ may give it data of its own)",
        options.loss);
  return chosen;
}

std::vector<Metric> metrics(const Options& options) {
  if (options.metrics == std::vector<std::string>{"none"}) return {};
  return {options.metrics.begin(), options.metrics.end()};
}

void print_metrics(std::string_view set, const std::vector<MetricValue>& metrics) {
  for (const MetricValue& metric : metrics) {
    if (metric.values.size() == 1) {
      fmt::print("{} {}", set, metrics_text({metric}, "\n"));
      continue;
    }
    fmt::print("{} {}, a row a class:\n", set, metric.name);
    const auto classes = static_cast<size_t>(std::lround(std::sqrt(static_cast<double>(metric.values.size()))));
    for (size_t row = 0; row < classes; ++row)
      fmt::print("  {}\n", fmt::join(std::span(metric.values).subspan(row * classes, classes), " "));
  }
}

}  // namespace lockstep::cli
