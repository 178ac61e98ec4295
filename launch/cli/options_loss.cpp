// What is minimised, and what is measured beside it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "launch/cli/options.h"

namespace lockstep::cli {

void add_loss_options(CLI::App& verb, Options& options) {
  verb.option_defaults()->group("Loss and metrics");
  verb.add_option("--loss", options.loss, "sparse_categorical_crossentropy")->capture_default_str();
  verb.add_option("--metrics", options.metrics, "accuracy, sparse_categorical_accuracy, or auto, separated by commas")
      ->delimiter(',')
      ->capture_default_str();
}

Loss loss(const Options& options) { return options.loss; }

std::vector<Metric> metrics(const Options& options) { return {options.metrics.begin(), options.metrics.end()}; }

void print_metrics(std::string_view set, const std::vector<MetricValue>& metrics) {
  for (const MetricValue& metric : metrics)
    if (metric.values.size() == 1) fmt::print("{} {}", set, metrics_text({metric}, "\n"));
}

}  // namespace lockstep::cli
