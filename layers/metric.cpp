#include "layers/metric.h"

#include "core/error.h"
#include "layers/loss.h"

namespace lockstep {

Metric::Metric(const std::string& name) : name_(name) {
  const std::vector<std::string> names{"auto", "accuracy", "sparse_categorical_accuracy"};
  kind_ = static_cast<Kind>(index_of("metric", name, names));
}

Measures::Measures(const Loss&, std::span<const Metric> metrics, const Shape&) : tallies_{{}} {
  for (const Metric& metric : metrics) {
    const bool automatic = metric.kind() == Metric::Kind::automatic;
    measures_.push_back({automatic ? "accuracy" : metric.name(), metric.kind(), 0});
  }
}

size_t Measures::floats() const {
  size_t sum = 0;
  for (const Tally& tally : tallies_) sum += static_cast<size_t>(tally.floats);
  return sum;
}

std::vector<MetricValue> Measures::values(std::span<const double> sums, int64_t samples) const {
  std::vector<MetricValue> values;
  for (const Measure& measure : measures_)
    values.push_back({measure.name, {sums[measure.tally] / static_cast<double>(samples)}});
  return values;
}

}  // namespace lockstep
