// What a training step or an epoch came to, as callbacks, the progress line and metrics.jsonl get it. Plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace lockstep {

/// Means over the samples of a data set that was not trained on.
struct Evaluation {
  double loss = 0, accuracy = 0;
  int64_t samples = 0;
};

struct Report {
  int64_t epoch = 0, epochs = 0;  // epoch counts from 0 over the whole run
  int64_t step = 0;               // counts from 0 over the whole run; of an epoch, its last one
  int64_t step_in_epoch = 0, steps_per_epoch = 0;
  float loss = 0;      // mean over the samples of the step, or of the epoch
  float accuracy = 0;  // 0 to 1
  float lr = 0;        // the step's learning rate; of an epoch, its last step's
  double images_per_second = 0;
  double data_share = 0;                      // 0 to 1: the part of the time in which computing waited for the feed
  std::optional<Evaluation> validation = {};  // of an epoch, where one was made behind it
};

/// What was measured on samples, by Keras' names: loss, accuracy, and where there was a validation val_loss and
/// val_accuracy. What a callback monitors, and what logs have a column for.
std::vector<std::pair<std::string, double>> measures(const Report& report);

}  // namespace lockstep
