// Cuts a data set into global batches and hands one rank its lanes of each, prepared ahead by threads.
// next() belongs to one thread; the data set is read by others.
#pragma once

#include <condition_variable>
#include <exception>
#include <memory>
#include <memory_resource>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "core/step_state.h"
#include "launch/data/crew.h"
#include "launch/data/dataset.h"
#include "launch/data/feed/augment.h"
#include "launch/data/targets.h"

namespace lockstep {

/// One rank's part of a global batch.
struct Batch {
  std::pmr::vector<float> images;     // [lane_count * batch / lanes, H, W, C], zeros where padded
  std::pmr::vector<int32_t> labels;   // [lane_count * batch / lanes], 0 where padded; what Dataset::read returned
  std::pmr::vector<LaneState> lanes;  // [lane_count]
  std::pmr::vector<int32_t> rows;     // with FeedOptions::once: the sample of each image, -1 where padded; else empty
  std::pmr::vector<std::byte> targets = {};  // of FeedOptions::target, zeros where padded; empty where labels are they
  std::vector<size_t> fresh = {};            // with it: which images are given; the others were in earlier batches
  int64_t samples = 0;                       // real samples in the global batch
  int64_t step = 0;                          // counts over the whole run
  int64_t epoch = 0;
  int64_t step_in_epoch = 0;
  bool end_of_epoch = false;
};

struct FeedOptions {
  int64_t batch = 0;                       // global
  int64_t lanes = 1;                       // of the global batch
  int64_t first_lane = 0, lane_count = 1;  // this rank's
  bool shuffle = false;                    // by KeyedPermutation(size, seed, epoch); else in the data set's order
  Augmentation augmentation = {};
  std::optional<Type> target = {};  // what a sample's target is to be, see Targets; none: as the data set has it
  bool once = false;  // give each sample's image once, and the sample's id with every batch; not with augmentation
  uint64_t seed = 0;
  int64_t first_step = 0;  // what the first batch is called: steps and epochs count over the whole run
  int64_t first_epoch = 0;
  int64_t first_step_in_epoch = 0;  // where in that epoch the first batch is
  int64_t steps = 0;                // how many batches to make
  int64_t ahead = 2;                // how many batches to prepare ahead
  int workers = 1;  // threads that read and augment samples of a batch side by side; the bits do not depend on it
  std::pmr::memory_resource* memory =
      std::pmr::new_delete_resource();  // of the batches; used by the constructor's thread
};

/// Every epoch is ceil(size / batch) steps. The last batch of an epoch is short where the batch does not divide the
/// data set: its real samples come first, by position in the global batch, and the rest is padding. What a batch holds
/// depends on the options that all ranks share and on the lane, never on how many ranks there are.
class BatchFeed {
 public:
  /// Throws Error when the options contradict each other.
  BatchFeed(std::shared_ptr<const Dataset> dataset, FeedOptions options);
  ~BatchFeed();  // does not wait for batches that are not begun

  /// The next batch, valid until the following call. Rethrows what the data set threw for it; throws InputError where
  /// the data set gave a label outside its classes, Error after the last batch.
  const Batch& next();

 private:
  void produce();
  void fill(Batch& batch, int64_t index, Crew& crew);
  /// A sample, and the one that it is blended with; -1 where it is padded.
  struct Chosen {
    int64_t sample = -1, partner = -1;
  };
  /// Chooses the samples of a batch.
  std::vector<Chosen> choose(Batch& batch, int64_t index) const;
  /// Blends image `i` of the batch with its partner's, and their targets.
  void blend(Batch& batch, size_t i, int64_t partner, std::vector<float>& scratch) const;
  int32_t read(int64_t sample, int64_t epoch, std::span<float> image, std::vector<float>& scratch) const;
  bool stopping() const;

  std::shared_ptr<const Dataset> dataset_;
  FeedOptions options_;
  Targets targets_;
  ValueRange range_;  // of the images, where colours are changed
  int64_t steps_per_epoch_;
  std::vector<int32_t> labels_;  // with `once`: by sample, -1 where its image was not given yet; the thread's

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Batch> ring_;  // batch i lies in slot i mod size
  int64_t made_ = 0;         // batches made so far
  int64_t taken_ = 0;        // batches handed out; the last one is still in use
  bool stop_ = false;
  std::exception_ptr failure_;
  std::thread producer_;  // last, so that all it uses exists before it starts
};

}  // namespace lockstep
