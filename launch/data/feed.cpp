#include "launch/data/feed.h"

#include <algorithm>

#include "core/error.h"
#include "core/random.h"

namespace lockstep {

BatchFeed::BatchFeed(std::shared_ptr<const Dataset> dataset, FeedOptions options)
    : dataset_(std::move(dataset)), options_(options) {
  const auto& o = options_;
  if (o.batch < 1 || o.lanes < 1 || o.batch % o.lanes != 0)
    throw Error("a batch of {} cannot be cut into {} lanes", o.batch, o.lanes);
  if (o.first_lane < 0 || o.lane_count < 1 || o.first_lane + o.lane_count > o.lanes)
    throw Error("lanes {} to {} of {}", o.first_lane, o.first_lane + o.lane_count - 1, o.lanes);
  if (o.first_step < 0 || o.first_epoch < 0 || o.steps < 0 || o.ahead < 1)
    throw Error("a feed of {} steps from step {}, {} ahead", o.steps, o.first_step, o.ahead);
  if (dataset_->size() < 1) throw Error("a feed over an empty data set");
  if (o.once && (o.augmentation.any() || dataset_->size() > INT32_MAX))
    throw Error("images that are given once cannot be augmented, and 32 bits must count them");
  steps_per_epoch_ = (dataset_->size() + o.batch - 1) / o.batch;
  // One more than are made ahead: the one that the caller is using.
  const auto slots = static_cast<size_t>(std::min(o.ahead, std::max<int64_t>(o.steps, 1)) + 1);
  // All memory is taken here: it may be a device's, which belongs to this thread.
  const auto count = static_cast<size_t>(o.lane_count * (o.batch / o.lanes));
  const auto floats = static_cast<size_t>(dataset_->image_shape().elements());
  for (size_t i = 0; i < slots; ++i)
    ring_.push_back({.images = std::pmr::vector<float>(count * floats, o.memory),
                     .labels = std::pmr::vector<int32_t>(count, o.memory),
                     .lanes = std::pmr::vector<LaneState>(static_cast<size_t>(o.lane_count), o.memory),
                     .rows = std::pmr::vector<int32_t>(o.once ? count : 0, o.memory)});
  if (o.once) labels_.assign(static_cast<size_t>(dataset_->size()), -1);
  producer_ = std::thread([this] { produce(); });
}

BatchFeed::~BatchFeed() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  producer_.join();
}

const Batch& BatchFeed::next() {
  std::unique_lock lock(mutex_);
  if (taken_ == options_.steps) throw Error("the feed holds {} batches, no more", options_.steps);
  // Frees the slot of the batch handed out before.
  ++taken_;
  changed_.notify_all();
  changed_.wait(lock, [&] { return made_ >= taken_ || failure_; });
  if (made_ < taken_) {
    --taken_;
    std::rethrow_exception(failure_);
  }
  return ring_[static_cast<size_t>(taken_ - 1) % ring_.size()];
}

void BatchFeed::produce() {
  const auto slots = static_cast<int64_t>(ring_.size());
  try {
    for (int64_t i = 0; i < options_.steps; ++i) {
      {
        std::unique_lock lock(mutex_);
        // Slot i mod slots last held batch i - slots, in use until one more has been taken.
        changed_.wait(lock, [&] { return stop_ || i - slots + 1 < taken_ || i < slots; });
        if (stop_) return;
      }
      fill(ring_[static_cast<size_t>(i % slots)], i);
      {
        const std::lock_guard lock(mutex_);
        if (stop_) return;
        made_ = i + 1;
      }
      changed_.notify_all();
    }
  } catch (...) {
    {
      const std::lock_guard lock(mutex_);
      failure_ = std::current_exception();
    }
    changed_.notify_all();
  }
}

bool BatchFeed::stopping() const {
  const std::lock_guard lock(mutex_);
  return stop_;
}

int32_t BatchFeed::read(int64_t sample, std::span<float> image) const {
  const int32_t label = dataset_->read(sample, image);
  if (label < 0 || label >= dataset_->classes())
    throw InputError("sample {} has label {}, expected 0 to {}", sample, label, dataset_->classes() - 1);
  return label;
}

void BatchFeed::fill(Batch& batch, int64_t index) {
  const int64_t lane_size = options_.batch / options_.lanes;
  const int64_t first = options_.first_lane * lane_size;
  const int64_t count = options_.lane_count * lane_size;
  const auto floats = static_cast<size_t>(dataset_->image_shape().elements());

  batch.step = options_.first_step + index;
  batch.epoch = options_.first_epoch + index / steps_per_epoch_;
  batch.step_in_epoch = index % steps_per_epoch_;
  batch.end_of_epoch = batch.step_in_epoch + 1 == steps_per_epoch_;
  const int64_t begin = batch.step_in_epoch * options_.batch;
  batch.samples = std::min(options_.batch, dataset_->size() - begin);
  for (int64_t lane = 0; lane < options_.lane_count; ++lane) {
    const int64_t position = first + lane * lane_size;
    batch.lanes[static_cast<size_t>(lane)] = {position, std::clamp<int64_t>(batch.samples - position, 0, lane_size)};
  }

  std::vector<float> scratch;
  const KeyedPermutation order(static_cast<uint64_t>(dataset_->size()), options_.seed,
                               static_cast<uint64_t>(batch.epoch));
  batch.fresh.clear();
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    if (stopping()) return;
    const std::span image(batch.images.data() + i * floats, floats);
    const int64_t at = begin + first + static_cast<int64_t>(i);
    const bool padding = at - begin >= batch.samples;
    const int64_t sample = !padding && options_.shuffle ? static_cast<int64_t>(order(static_cast<uint64_t>(at))) : at;
    if (options_.once) batch.rows[i] = padding ? -1 : static_cast<int32_t>(sample);
    int32_t& label = batch.labels[i];
    if (padding) {
      if (!options_.once) std::ranges::fill(image, 0.0F);
      label = 0;
    } else if (!options_.once) {
      label = read(sample, image);
      if (options_.augmentation.any())
        options_.augmentation.apply(image, dataset_->image_shape(), options_.seed, batch.epoch, sample, scratch);
    } else {
      int32_t& known = labels_[static_cast<size_t>(sample)];
      if (known < 0) {
        known = read(sample, image);
        batch.fresh.push_back(i);
      }
      label = known;
    }
  }
}

}  // namespace lockstep
