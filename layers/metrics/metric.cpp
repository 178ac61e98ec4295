#include "layers/metrics/metric.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "core/registry.h"
#include "layers/losses/element_loss.h"
#include "layers/losses/loss.h"
#include "layers/metrics/metric_ops.h"

namespace lockstep {

namespace {

using Kind = Metric::Kind;

struct Known {
  Kind kind;
  std::shared_ptr<const CustomMetric> custom = nullptr;
};

Registry<Known>& all() {
  static Registry<Known> named("metric", {
                                             {"auto", {Kind::automatic}},
                                             {"accuracy", {Kind::accuracy}},
                                             {"sparse_categorical_accuracy", {Kind::accuracy}},
                                             {"categorical_accuracy", {Kind::accuracy}},
                                             {"binary_accuracy", {Kind::accuracy}},
                                             {"top_k", {Kind::top_k}},
                                             {"top_k_categorical_accuracy", {Kind::top_k}},
                                             {"sparse_top_k_categorical_accuracy", {Kind::top_k}},
                                             {"precision", {Kind::precision}},
                                             {"recall", {Kind::recall}},
                                             {"f1_score", {Kind::f1}},
                                             {"f1", {Kind::f1}},
                                             {"confusion_matrix", {Kind::confusion_matrix}},
                                             {"mean_iou", {Kind::mean_iou}},
                                             {"mean_squared_error", {Kind::squared}},
                                             {"mse", {Kind::squared}},
                                             {"mean_absolute_error", {Kind::absolute}},
                                             {"mae", {Kind::absolute}},
                                         });
  return named;
}

bool counts(Kind kind) { return kind >= Kind::precision && kind <= Kind::mean_iou; }

/// A class' part of a confusion matrix.
struct ClassCounts {
  double right = 0, predicted = 0, actual = 0;

  ClassCounts(std::span<const double> matrix, size_t classes, size_t one) : right(matrix[one * classes + one]) {
    for (size_t other = 0; other < classes; ++other) {
      predicted += matrix[other * classes + one];
      actual += matrix[one * classes + other];
    }
  }
  bool occurs() const { return predicted + actual > 0; }
  /// 0 where there is nothing to take a share of, as in Keras.
  double value(Kind kind) const {
    const auto share = [](double part, double of) { return of > 0 ? part / of : 0; };
    switch (kind) {
      case Kind::precision:
        return share(right, predicted);
      case Kind::recall:
        return share(right, actual);
      case Kind::f1:
        return share(2 * right, predicted + actual);
      default:
        return share(right, predicted + actual - right);
    }
  }
};

double mean_over_classes(std::span<const double> matrix, size_t classes, Kind kind) {
  double sum = 0, occurring = 0;
  for (size_t one = 0; one < classes; ++one) {
    const ClassCounts counts(matrix, classes, one);
    if (!counts.occurs()) continue;
    sum += counts.value(kind);
    occurring += 1;
  }
  return occurring > 0 ? sum / occurring : 0;
}

}  // namespace

std::vector<std::string> Metric::names() { return all().names(); }

void register_metric(CustomMetric metric) {
  if (!metric.tally || !metric.value)
    throw InputError("metric '{}' needs both functions, tally and value", metric.name);
  const std::string name = metric.name;
  all().add(name, {Kind::custom, std::make_shared<const CustomMetric>(std::move(metric))});
}

Metric::Metric(const std::string& name) : name_(name) {
  const size_t colon = name.find(':');
  const Known& known = all().find(name.substr(0, colon));
  kind_ = known.kind;
  custom_ = known.custom;
  if (kind_ == Kind::top_k) k_ = 5;
  if (colon == std::string::npos) return;
  const char* const end = name.data() + name.size();
  const auto [stopped, error] = std::from_chars(name.data() + colon + 1, end, k_);
  if (kind_ != Kind::top_k || error != std::errc{} || stopped != end || k_ < 1)
    throw InputError("metric '{}', expected a number from 1 after the colon of top_k, and no colon elsewhere", name);
}

Measures::Measures(const Loss& loss, std::span<const Metric> metrics, const Shape& prediction)
    : binary_(loss.family() == Loss::Family::binary) {
  const auto dims = prediction.dims();
  if (binary_) rows_ = prediction.elements();
  if (loss.family() == Loss::Family::classes && !dims.empty()) {
    rows_ = Shape(dims.first(dims.size() - 1)).elements();
    classes_ = static_cast<size_t>(dims.back());
  }
  if (loss.target(prediction).dtype == DType::i32) tallies_.push_back({});  // its operator counts in passing
  for (const Metric& metric : metrics) add(loss, metric, prediction);
}

void Measures::add(const Loss& loss, const Metric& metric, const Shape& prediction) {
  const bool values = loss.family() == Loss::Family::values;
  Kind kind = metric.kind();
  std::string name = metric.name();
  if (kind == Kind::automatic) {
    if (values) return;
    kind = Kind::accuracy;
    name = "accuracy";
  }
  for (const Measure& known : measures_)
    if (known.name == name) throw InputError("metric '{}' was given twice", name);
  if (kind == Kind::custom) {
    measures_.push_back({name, kind, tally(metric.custom()->tally(loss, prediction)), metric.custom()});
    return;
  }
  const auto refuse = [&](const char* expected) {
    return InputError("metric '{}' does not go with the loss {}; expected {}", name, loss.name(), expected);
  };
  if (kind == Kind::squared || kind == Kind::absolute) {
    if (loss.target(prediction).dtype == DType::i32) throw refuse("metrics of classes, such as accuracy or f1_score");
    const auto error = kind == Kind::squared ? ElementLoss::Kind::squared : ElementLoss::Kind::absolute;
    const Tally wanted{.op = std::make_shared<ElementLossOp>(ElementLoss{.kind = error}), .of_output = true};
    measures_.push_back({name, kind, tally(wanted)});
    return;
  }
  if (values) throw refuse("mse or mae");
  if (binary_ && kind == Kind::top_k) throw refuse("accuracy, precision, recall or f1_score");
  if (binary_ || counts(kind)) {
    const Tally wanted{.op = std::make_shared<ConfusionOp>(binary_),
                       .floats = static_cast<int64_t>(classes_ * classes_)};
    measures_.push_back({name, kind, tally(wanted)});
    return;
  }
  if (metric.k() > static_cast<int64_t>(classes_))
    throw InputError("metric '{}': k is {}, expected 1 to the number of classes, {}", name, metric.k(), classes_);
  const bool by_loss = metric.k() == 1 && !tallies_.empty() && !tallies_[0].op;
  measures_.push_back({name, kind, by_loss ? 0 : tally({.op = std::make_shared<TopKOp>(metric.k())})});
}

size_t Measures::tally(Tally wanted) {
  const auto same = [&](const Tally& known) {
    return known.op && known.op->name() == wanted.op->name() && known.op->attributes() == wanted.op->attributes();
  };
  const auto found = std::ranges::find_if(tallies_, same);
  if (found != tallies_.end()) return static_cast<size_t>(found - tallies_.begin());
  tallies_.push_back(std::move(wanted));
  return tallies_.size() - 1;
}

size_t Measures::floats() const {
  size_t sum = 0;
  for (const Tally& tally : tallies_) sum += static_cast<size_t>(tally.floats);
  return sum;
}

std::vector<MetricValue> Measures::values(std::span<const double> sums, int64_t samples) const {
  std::vector<MetricValue> all;
  for (const auto& [name, kind, tally, custom] : measures_) {
    size_t first = 0;
    for (size_t t = 0; t < tally; ++t) first += static_cast<size_t>(tallies_[t].floats);
    const auto mine = sums.subspan(first, static_cast<size_t>(tallies_[tally].floats));
    if (custom)
      all.push_back({name, {custom->value(mine, samples)}});
    else if (kind == Kind::confusion_matrix)
      all.push_back({name, {mine.begin(), mine.end()}});
    else
      all.push_back({name, {value_of(kind, mine, samples)}});
  }
  return all;
}

double Measures::value_of(Metric::Kind kind, std::span<const double> sums, int64_t samples) const {
  const auto predictions = static_cast<double>(samples * rows_);
  if (kind == Kind::squared || kind == Kind::absolute) return sums[0] / static_cast<double>(samples);
  if (kind == Kind::mean_iou) return mean_over_classes(sums, classes_, kind);
  if (counts(kind)) return binary_ ? ClassCounts(sums, 2, 1).value(kind) : mean_over_classes(sums, classes_, kind);
  return (binary_ ? sums[0] + sums[3] : sums[0]) / predictions;  // right ones
}

}  // namespace lockstep
