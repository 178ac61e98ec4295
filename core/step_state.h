// What changes from step to step and lane to lane, as plain data that lives beside the tensors: kernels read it
// there, so a captured step can be replayed unchanged.
#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace lockstep {

/// The same for all lanes of a step.
struct StepState {
  uint64_t seed = 0;
  uint64_t step = 0;    // counts from 0 over the whole run
  int64_t samples = 0;  // real samples in the global batch: what sums are divided by
  float lr = 0;
  float unused = 0;
};

/// One lane of a step.
struct LaneState {
  int64_t first = 0;  // position of the lane's first sample in the global batch
  int64_t valid = 0;  // how many of the lane's samples are real; the rest are padding and must not count
};

/// Graph inputs have these types; `as<StepState>()` of the tensor gives the data.
inline Type step_state_type() { return {Shape{1, sizeof(StepState)}, DType::u8}; }
inline Type lane_state_type(int64_t lanes) { return {Shape{lanes, sizeof(LaneState)}, DType::u8}; }

}  // namespace lockstep
