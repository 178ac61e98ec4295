// Brings batches to where a planned step reads them. Used by the rank's own thread.
#pragma once

#include <array>

#include "core/plan/executor.h"
#include "core/step_state.h"

namespace lockstep {

struct Batch;
struct Step;

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
    return 2 * plan.memory.size(Region::lane_input) * static_cast<size_t>(plan.lanes);
  }

  /// On a device, keeps the images of a data set of `samples` samples there from now on: each is copied when a batch
  /// first gives it (FeedOptions::once), so that later epochs send no images. Returns false, and does nothing, on the
  /// CPU and where they would take more than `most` bytes.
  bool keep_images(Backend& backend, int64_t samples, size_t most);

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
    Arena rows;    // int32_t[images of a batch], where images are kept
    std::unique_ptr<Event> arrived, consumed;
  };
  /// Where this rank computes with parts of the images: which.
  void find_part(const StepPlan& plan, const std::vector<int64_t>& coordinates);
  size_t images_per_lane() const;
  /// One lane's images to `to`: of each, the part that this rank computes with.
  void copy_images(std::byte* to, const std::byte* images, Stream& stream) const;
  /// Copies each lane's inputs to where they lie, or to the same place in `mirror`; without `images` all but these.
  void copy_lanes(const Batch& batch, bool images, std::byte* mirror, Stream& stream) const;
  /// Copies the images that are new to `kept_`, then each lane's from there to `staging`.
  void gather_images(const Batch& batch, const Staging& staging);

  Executor& executor_;
  Value images_, labels_, lane_state_, step_state_;
  Interval rows_, columns_;  // of the images that batches hold; both empty where whole images are computed with
  Arena states_;             // StepState[slots] in host memory
  size_t puts_ = 0, batches_ = 0;
  std::unique_ptr<Stream> copies_;  // none on the CPU
  Arena kept_;                      // images by sample, where they are kept
  std::array<Staging, 2> staging_;
};

}  // namespace lockstep
