// What a training step or an epoch came to, as callbacks, the progress line and metrics.jsonl get it. Plain data.
#pragma once

#include <cstdint>

namespace lockstep {

struct Report {
  int64_t epoch = 0, epochs = 0;  // epoch counts from 0 over the whole run
  int64_t step = 0;               // counts from 0 over the whole run; of an epoch, its last one
  int64_t step_in_epoch = 0, steps_per_epoch = 0;
  float loss = 0;      // mean over the samples of the step, or of the epoch
  float accuracy = 0;  // 0 to 1
  double images_per_second = 0;
  double data_share = 0;  // 0 to 1: the part of the time in which computing waited for the data feed
};

}  // namespace lockstep
