// What is measured beside the loss, in training and evaluation alike: sums that a step makes and reduces as it does the
// loss, and the values that are made of them. Plain data: copied freely, read by any thread.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/op.h"

namespace lockstep {

class Loss;

/// A metric as the user names it.
class Metric {
 public:
  enum class Kind : unsigned char { automatic, accuracy, sparse_categorical_accuracy };

  /// As Keras names them: "accuracy", "sparse_categorical_accuracy"; or "auto": accuracy where the loss is one of
  /// classes, else none. Throws InputError with the nearest name.
  Metric(const std::string& name);  // NOLINT: implicit, so that metrics = {"accuracy"} reads well
  Metric(const char* name) : Metric(std::string(name)) {}  // NOLINT

  /// As given: what reports call its value.
  const std::string& name() const { return name_; }
  Kind kind() const { return kind_; }

 private:
  std::string name_;
  Kind kind_;
};

/// What a metric came to: a number.
struct MetricValue {
  std::string name;
  std::vector<double> values;
};

/// Sums over samples that a step makes for metrics.
struct Tally {
  std::shared_ptr<const Op> op;  // null: the loss' operator makes it, as output 1
  int64_t floats = 1;
};

/// The metrics of a training, and of its evaluations.
class Measures {
 public:
  /// For predictions that are of this shape for one sample. Throws InputError where a metric does not go with the loss.
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
  };
  std::vector<Tally> tallies_;
  std::vector<Measure> measures_;
};

}  // namespace lockstep
