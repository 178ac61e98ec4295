// What is measured beside the loss, in training and evaluation alike: sums that a step makes and reduces as it does the
// loss, and the values that are made of them. Plain data: copied freely, read by any thread.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/graph/op.h"

namespace lockstep {

class Loss;
struct CustomMetric;

/// The share of samples (or pixels) whose class is among the k most probable.
struct TopKCategoricalAccuracy {
  int64_t k = 5;
};

/// A metric as the user names it.
class Metric {
 public:
  enum class Kind : unsigned char {
    automatic,
    accuracy,  // of classes, or of each number where the loss is a binary one
    top_k,
    // Of the class 1 where the loss is a binary one, over all numbers; else the mean over the classes that occur, as
    // targets or predictions.
    precision,
    recall,
    f1,
    confusion_matrix,  // [classes, classes]: how often the row's class was predicted as the column's
    mean_iou,          // intersection over union, the mean over the classes that occur
    squared,           // means over the numbers of a prediction
    absolute,
    custom,  // of the program: see register_metric
  };

  /// As Keras names them: "accuracy" (or "sparse_categorical_accuracy", "categorical_accuracy", "binary_accuracy"),
  /// "top_k:3" ("top_k_categorical_accuracy", "sparse_top_k_categorical_accuracy"; 5 where no number is given),
  /// "precision", "recall", "f1_score" ("f1"), "confusion_matrix", "mean_iou", "mse" ("mean_squared_error"), "mae"
  /// ("mean_absolute_error"); or "auto": accuracy, where the loss is one of classes or binary. Throws InputError with
  /// the nearest name.
  Metric(const std::string& name);  // NOLINT: implicit, so that metrics = {"accuracy"} reads well
  Metric(const char* name) : Metric(std::string(name)) {}                            // NOLINT
  Metric(TopKCategoricalAccuracy top) : Metric("top_k:" + std::to_string(top.k)) {}  // NOLINT

  static std::vector<std::string> names();

  /// As given: what reports call its value.
  const std::string& name() const { return name_; }
  Kind kind() const { return kind_; }
  int64_t k() const { return k_; }
  /// Of Kind::custom; else null.
  const std::shared_ptr<const CustomMetric>& custom() const { return custom_; }

 private:
  std::string name_;
  Kind kind_;
  int64_t k_ = 1;
  std::shared_ptr<const CustomMetric> custom_;
};

/// What a metric came to: one number, or of confusion_matrix one for each pair of classes.
struct MetricValue {
  std::string name;
  std::vector<double> values;
};

/// Sums over samples that a step makes for metrics.
struct Tally {
  std::shared_ptr<const Op> op;  // null: the loss' operator makes it, as output 1
  bool of_output = false;        // it reads the network's output; else what the loss reads
  int64_t floats = 1;
};

/// A metric of a program's own.
struct CustomMetric {
  std::string name;
  /// The sums that it is made of, of predictions that are of this shape for one sample. The operator's inputs are those
  /// of a loss that is not scaled, its output f32[floats]; rules as ElementLossOp's. Throws InputError where the metric
  /// does not go with the loss.
  std::function<Tally(const Loss& loss, const Shape& prediction)> tally;
  /// From the sums over so many samples.
  std::function<double(std::span<const double> sums, int64_t samples)> value;
};

/// Makes the metric known by its name: Metric("NAME"). For the main thread, before a model is compiled. Throws
/// InputError where the name is taken, or a function is missing.
void register_metric(CustomMetric metric);

/// The metrics of a training, and of its evaluations.
class Measures {
 public:
  /// For predictions that are of this shape for one sample. Throws InputError where a metric does not go with the loss
  /// or the predictions, or is there twice.
  Measures(const Loss& loss, std::span<const Metric> metrics, const Shape& prediction);

  const std::vector<Tally>& tallies() const { return tallies_; }
  /// Of all tallies, one after the other.
  size_t floats() const;
  /// From the sums over `samples` samples, as the tallies lie.
  std::vector<MetricValue> values(std::span<const double> sums, int64_t samples) const;

 private:
  struct Measure {
    std::string name;
    Metric::Kind kind;
    size_t tally = 0;
    std::shared_ptr<const CustomMetric> custom = nullptr;
  };
  void add(const Loss& loss, const Metric& metric, const Shape& prediction);
  double value_of(Metric::Kind kind, std::span<const double> sums, int64_t samples) const;
  /// The index of a tally that is made so, added where it is new.
  size_t tally(Tally wanted);

  bool binary_;
  int64_t rows_ = 1;    // predictions in a sample
  size_t classes_ = 2;  // that each is one of
  std::vector<Tally> tallies_;
  std::vector<Measure> measures_;
};

}  // namespace lockstep
