#include "launch/data/feed/feed.h"

#include <algorithm>

#include "core/error.h"
#include "core/random.h"

namespace lockstep {

BatchFeed::BatchFeed(std::shared_ptr<const Dataset> dataset, FeedOptions options)
    : dataset_(std::move(dataset)),
      options_(options),
      targets_(*dataset_, options.target.value_or(dataset_->target())) {
  const auto& o = options_;
  if (o.batch < 1 || o.lanes < 1 || o.batch % o.lanes != 0)
    throw Error("a batch of {} cannot be cut into {} lanes", o.batch, o.lanes);
  if (o.first_lane < 0 || o.lane_count < 1 || o.first_lane + o.lane_count > o.lanes)
    throw Error("lanes {} to {} of {}", o.first_lane, o.first_lane + o.lane_count - 1, o.lanes);
  if (o.workers < 1) throw Error("a feed of {} workers", o.workers);
  if (o.first_step < 0 || o.first_epoch < 0 || o.first_step_in_epoch < 0 || o.steps < 0 || o.ahead < 1)
    throw Error("a feed of {} steps from step {}, {} ahead", o.steps, o.first_step, o.ahead);
  o.augmentation.check(*dataset_);
  if (o.augmentation.colours()) range_ = dataset_->range();
  if (dataset_->size() < 1) throw Error("a feed over an empty data set");
  if (o.augmentation.mix.any() && (targets_.plain() || targets_.wanted().dtype != DType::f32))
    throw Error("targets of {} cannot be blended, expected numbers", targets_.wanted().str());
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
                     .rows = std::pmr::vector<int32_t>(o.once ? count : 0, o.memory),
                     .targets = std::pmr::vector<std::byte>(count * targets_.bytes(), o.memory)});
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
    Crew crew(options_.workers);
    for (int64_t i = 0; i < options_.steps; ++i) {
      {
        std::unique_lock lock(mutex_);
        // Slot i mod slots last held batch i - slots, in use until one more has been taken.
        changed_.wait(lock, [&] { return stop_ || i - slots + 1 < taken_ || i < slots; });
        if (stop_) return;
      }
      fill(ring_[static_cast<size_t>(i % slots)], i, crew);
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

int32_t BatchFeed::read(int64_t sample, int64_t epoch, std::span<float> image, std::vector<float>& scratch) const {
  const Augmentation& change = options_.augmentation;
  const int32_t label = change.resized_crop > 0
                            ? dataset_->read_crop(sample, change.choose_crop(options_.seed, epoch, sample), image)
                            : dataset_->read(sample, image);
  if (change.any())
    change.apply(image, dataset_->image_shape(), options_.seed, epoch, sample, scratch, dataset_->normalisation(),
                 range_);
  return label;
}

std::vector<BatchFeed::Chosen> BatchFeed::choose(Batch& batch, int64_t index) const {
  const int64_t lane_size = options_.batch / options_.lanes;
  const int64_t first = options_.first_lane * lane_size;
  batch.step = options_.first_step + index;
  const int64_t since_epoch = options_.first_step_in_epoch + index;
  batch.epoch = options_.first_epoch + since_epoch / steps_per_epoch_;
  batch.step_in_epoch = since_epoch % steps_per_epoch_;
  batch.end_of_epoch = batch.step_in_epoch + 1 == steps_per_epoch_;
  const int64_t begin = batch.step_in_epoch * options_.batch;
  batch.samples = std::min(options_.batch, dataset_->size() - begin);
  for (int64_t lane = 0; lane < options_.lane_count; ++lane) {
    const int64_t position = first + lane * lane_size;
    batch.lanes[static_cast<size_t>(lane)] = {position, std::clamp<int64_t>(batch.samples - position, 0, lane_size)};
  }
  const KeyedPermutation order(static_cast<uint64_t>(dataset_->size()), options_.seed,
                               static_cast<uint64_t>(batch.epoch));
  const auto sample_at = [&](int64_t position) {
    const int64_t at = begin + position;
    return options_.shuffle ? static_cast<int64_t>(order(static_cast<uint64_t>(at))) : at;
  };
  std::vector<Chosen> chosen(batch.labels.size());
  for (size_t i = 0; i < chosen.size(); ++i) {
    const int64_t position = first + static_cast<int64_t>(i);
    if (position >= batch.samples) break;
    chosen[i].sample = sample_at(position);
    if (options_.augmentation.mix.any())
      chosen[i].partner = sample_at(Mix::partner(options_.seed, batch.step, position, batch.samples));
  }
  return chosen;
}

void BatchFeed::blend(Batch& batch, size_t i, int64_t partner, std::vector<float>& scratch) const {
  const Shape shape = dataset_->image_shape();
  const auto floats = static_cast<size_t>(shape.elements());
  // It may be another rank's sample: read once more, and augmented as it is there.
  std::vector<float> image(floats);
  std::vector<std::byte> target(targets_.bytes());
  targets_.write(target, partner, read(partner, batch.epoch, image, scratch));
  const int64_t position = options_.first_lane * (options_.batch / options_.lanes) + static_cast<int64_t>(i);
  const Mix::Blend blend = options_.augmentation.mix.blend(options_.seed, batch.step, position, shape);
  blend_images(blend, {batch.images.data() + i * floats, floats}, image, shape);
  const auto numbers = [&](std::byte* bytes) {
    return std::span(reinterpret_cast<float*>(bytes), target.size() / sizeof(float));
  };
  blend_targets(blend, numbers(batch.targets.data() + i * target.size()), numbers(target.data()));
}

void BatchFeed::fill(Batch& batch, int64_t index, Crew& crew) {
  const std::vector<Chosen> chosen = choose(batch, index);
  const auto floats = static_cast<size_t>(dataset_->image_shape().elements());
  batch.fresh.clear();
  if (options_.once)
    for (size_t i = 0; i < chosen.size(); ++i) {
      batch.rows[i] = static_cast<int32_t>(chosen[i].sample);
      if (chosen[i].sample >= 0 && labels_[static_cast<size_t>(chosen[i].sample)] < 0) batch.fresh.push_back(i);
    }
  std::vector<std::vector<float>> scratch(static_cast<size_t>(crew.workers()));
  crew.each(static_cast<int64_t>(chosen.size()), [&](int64_t part, int worker) {
    if (stopping()) return;
    const auto i = static_cast<size_t>(part);
    const std::span image(batch.images.data() + i * floats, floats);
    const std::span target(batch.targets.data() + i * targets_.bytes(), targets_.bytes());
    const auto [sample, partner] = chosen[i];
    auto& mine = scratch[static_cast<size_t>(worker)];
    int32_t& label = batch.labels[i];
    if (sample < 0) {
      if (!options_.once) std::ranges::fill(image, 0.0F);
      std::ranges::fill(target, std::byte{0});
      label = 0;
      return;
    }
    if (options_.once) {
      // No two parts have one sample.
      int32_t& known = labels_[static_cast<size_t>(sample)];
      if (known < 0) known = read(sample, batch.epoch, image, mine);
      label = known;
    } else {
      label = read(sample, batch.epoch, image, mine);
    }
    targets_.write(target, sample, label);
    if (partner >= 0) blend(batch, i, partner, mine);
  });
}

}  // namespace lockstep
