// What a training step or an epoch came to, as callbacks, the progress line and metrics.jsonl get it. Plain data.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "layers/metrics/metric.h"

namespace lockstep {

/// Means over the samples of a data set that was not trained on.
struct Evaluation {
  double loss = 0;
  double accuracy = std::numeric_limits<double>::quiet_NaN();  // 0 to 1: the metric of that name, where it is measured
  int64_t samples = 0;
  std::vector<MetricValue> metrics = {};
};

struct Report {
  int64_t epoch = 0, epochs = 0;  // epoch counts from 0 over the whole run
  int64_t step = 0;               // counts from 0 over the whole run; of an epoch, its last one
  int64_t step_in_epoch = 0, steps_per_epoch = 0;
  float loss = 0;                                            // mean over the samples of the step, or of the epoch
  float accuracy = std::numeric_limits<float>::quiet_NaN();  // 0 to 1: the metric of that name, where it is measured
  float lr = 0;                                              // the step's learning rate; of an epoch, its last step's
  double images_per_second = 0;
  double data_share = 0;                      // 0 to 1: the part of the time in which computing waited for the feed
  std::vector<MetricValue> metrics = {};      // over the same samples
  Evaluation epoch_so_far = {};               // of a step: means over the epoch's samples up to it
  std::optional<Evaluation> validation = {};  // of an epoch, where one was made after it
};

/// What was measured on samples, by Keras' names: loss, metrics that are one number, and where there was a validation
/// val_loss and the metrics as val_NAME. What a callback monitors, and what logs have a column for.
std::vector<std::pair<std::string, double>> measures(const Report& report);

/// The value of the metric "accuracy", NaN where there is none.
double accuracy_of(const std::vector<MetricValue>& metrics);

/// "accuracy 97.50 %  mae 0.1234  ": those that are one number, each with `begin` before its name and `end` after it.
std::string metrics_text(const std::vector<MetricValue>& metrics, std::string_view end, std::string_view begin = "");

}  // namespace lockstep
