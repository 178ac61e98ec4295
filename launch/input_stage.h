// Brings batches to where a planned step reads them. Used by the rank's own thread.
#pragma once

#include <array>

#include "core/plan/executor.h"
#include "core/step_state.h"
#include "launch/data/feed.h"
#include "launch/step.h"

namespace lockstep {

/// On a device, a batch is copied on a stream of its own into memory beside the step's inputs while the step before
/// still computes, and from there moved to the inputs in the order of the steps: the device waits for the host only
/// where the host is late. On the CPU it is copied at once.
class InputStage {
 public:
  InputStage(Backend& backend, Executor& executor, const Step& step);
  ~InputStage();  // waits for the steps under way: they read what is freed here
  InputStage(const InputStage&) = delete;
  InputStage& operator=(const InputStage&) = delete;
  /// Device memory that the constructor allocates on a device.
  static size_t bytes(const StepPlan& plan) {
    return 2 * plan.memory.size(Region::LaneInput) * static_cast<size_t>(plan.lanes);
  }

  /// Enqueues `batch` as the input of the step that is enqueued next. At most `slots` steps may be under way.
  void put(const Batch& batch, const StepState& state);
  /// The same step inputs once more, with another state.
  void put(const StepState& state);
  /// Blocks until the memory of the batch that was put last may be changed.
  void release();

  static constexpr size_t slots = 4;

 private:
  /// What is on its way while another step computes.
  struct Staging {
    Arena memory;  // laid out as the executor's lane inputs
    std::unique_ptr<Event> arrived, consumed;
  };
  /// Copies each lane's inputs to where they lie, or to the same place in `mirror`.
  void copy_lanes(const Batch& batch, std::byte* mirror, Stream& stream) const;

  Executor& executor_;
  Value images_, labels_, lane_state_, step_state_;
  Arena states_;  // StepState[slots] in host memory
  size_t puts_ = 0, batches_ = 0;
  std::unique_ptr<Stream> copies_;  // none on the CPU
  std::array<Staging, 2> staging_;
};

}  // namespace lockstep
