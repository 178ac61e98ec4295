#include "launch/train/input_stage.h"

#include "core/error.h"
#include "launch/data/feed/feed.h"
#include "launch/plan/step.h"

namespace lockstep {

InputStage::InputStage(Backend& backend, Executor& executor, const Step& step)
    : executor_(executor),
      images_(step.images),
      labels_(step.labels),
      lane_state_(step.lane_state),
      step_state_(step.step_state),
      states_(backend, slots * sizeof(StepState), Memory::host) {
  if (images_) find_part(executor.plan(), step.coordinates);
  if (!executor.stream().on_device()) return;
  copies_ = backend.side_stream();
  for (Staging& staging : staging_) {
    staging.memory = Arena(backend, executor.region(Region::lane_input).size());
    staging.arrived = copies_->event();
    staging.consumed = copies_->event();
  }
}

void InputStage::find_part(const StepPlan& plan, const std::vector<int64_t>& coordinates) {
  const Shape& whole = plan.graph.type(images_).shape;
  if (plan.local[images_].shape[1] != whole[1] || (whole.rank() == 4 && plan.local[images_].shape[2] != whole[2])) {
    rows_ = {0, whole[1]};
    columns_ = {0, whole[2]};
    for (size_t axis = 1; axis < plan.slices[images_].size(); ++axis) {
      const Slices& cut = plan.slices[images_][axis];
      if (!cut.empty())
        (plan.placement[images_][axis].dim == 1 ? rows_ : columns_) = cut[static_cast<size_t>(coordinates[axis - 1])];
    }
  }
}

InputStage::~InputStage() {
  try {
    executor_.stream().synchronize();
  } catch (...) {
    // Whoever waited for the step has heard of it.
  }
}

void InputStage::copy_images(std::byte* to, const std::byte* images, Stream& stream) const {
  const Type& part = executor_.plan().local[images_];
  const Shape& whole = executor_.plan().graph.type(images_).shape;
  const auto unit = size_of(part.dtype) * static_cast<size_t>(whole[3]);
  const auto row = [&](int64_t columns) { return static_cast<size_t>(columns) * unit; };
  const auto count = static_cast<size_t>(part.shape[0]), height = static_cast<size_t>(rows_.size());
  const std::byte* from = images + static_cast<size_t>(rows_.begin) * row(whole[2]) + row(columns_.begin);
  const size_t image = static_cast<size_t>(whole[1]) * row(whole[2]), own = height * row(columns_.size());
  if (columns_.size() == whole[2]) return stream.copy_rows(to, own, from, image, own, count);
  for (size_t i = 0; i < count; ++i)
    stream.copy_rows(to + i * own, row(columns_.size()), from + i * image, row(whole[2]), row(columns_.size()), height);
}

bool InputStage::keep_images(Backend& backend, int64_t samples, size_t most) {
  if (!images_) return false;
  const size_t bytes = static_cast<size_t>(samples) * executor_.tensor(images_).type.bytes() / images_per_lane();
  if (!copies_ || bytes > most || rows_.size() > 0) return false;
  kept_ = Arena(backend, bytes);
  for (Staging& staging : staging_)
    staging.rows = Arena(backend, static_cast<size_t>(executor_.plan().lanes) * images_per_lane() * sizeof(int32_t));
  return true;
}

size_t InputStage::images_per_lane() const { return static_cast<size_t>(executor_.tensor(images_).type.shape[0]); }

void InputStage::gather_images(const Batch& batch, const Staging& staging) {
  const size_t per_lane = images_per_lane(), bytes = executor_.tensor(images_).type.bytes() / per_lane;
  for (const size_t i : batch.fresh)
    copies_->copy(kept_.data() + static_cast<size_t>(batch.rows[i]) * bytes,
                  reinterpret_cast<const std::byte*>(batch.images.data()) + i * bytes, bytes);
  copies_->copy(staging.rows.data(), reinterpret_cast<const std::byte*>(batch.rows.data()), staging.rows.bytes());
  const std::byte* region = executor_.region(Region::lane_input).data();
  const auto* rows = reinterpret_cast<const int32_t*>(staging.rows.data());
  for (int lane = 0; lane < executor_.plan().lanes; ++lane, rows += per_lane)
    copies_->gather(staging.memory.data() + (executor_.tensor(images_, lane).data - region), kept_.data(),
                    {rows, per_lane}, bytes);
}

void InputStage::copy_lanes(const Batch& batch, bool images, std::byte* mirror, Stream& stream) const {
  const std::byte* region = executor_.region(Region::lane_input).data();
  const auto lanes = static_cast<size_t>(executor_.plan().lanes);
  for (size_t lane = 0; lane < lanes; ++lane) {
    const auto copy = [&](Value value, const auto& data) {
      if (!value) return;
      std::byte* const to = executor_.tensor(value, static_cast<int>(lane)).data;
      const size_t bytes = data.size() / lanes * sizeof(data[0]);
      const auto* from = reinterpret_cast<const std::byte*>(data.data()) + lane * bytes;
      std::byte* const there = mirror ? mirror + (to - region) : to;
      if (value == images_ && rows_.size() > 0)
        copy_images(there, from, stream);
      else
        stream.copy(there, from, bytes);
    };
    if (images) copy(images_, batch.images);
    if (labels_ && batch.targets.empty() != (executor_.tensor(labels_).type.shape.rank() == 1 &&
                                             executor_.tensor(labels_).type.dtype == DType::i32))
      throw Error("the step takes targets of {}; the batch has {}", executor_.tensor(labels_).type.str(),
                  batch.targets.empty() ? "class indices" : "others");
    batch.targets.empty() ? copy(labels_, batch.labels) : copy(labels_, batch.targets);
    copy(lane_state_, batch.lanes);
  }
}

void InputStage::put(const Batch& batch, const StepState& state) {
  Stream& compute = executor_.stream();
  if (copies_) {
    Staging& staging = staging_[batches_++ % staging_.size()];
    const auto inputs = executor_.region(Region::lane_input);
    copies_->wait(*staging.consumed);
    const bool keeps = kept_.bytes() > 0;
    if (keeps) gather_images(batch, staging);
    copy_lanes(batch, !keeps, staging.memory.data(), *copies_);
    copies_->record(*staging.arrived);
    compute.wait(*staging.arrived);
    compute.copy(inputs.data(), staging.memory.data(), inputs.size());
    compute.record(*staging.consumed);
  } else {
    copy_lanes(batch, true, nullptr, compute);
  }
  put(state);
}

void InputStage::put(const StepState& state) {
  if (!step_state_) return;
  StepState& kept = reinterpret_cast<StepState*>(states_.data())[puts_++ % slots];
  kept = state;
  executor_.stream().copy(executor_.tensor(step_state_).data, reinterpret_cast<const std::byte*>(&kept), sizeof kept);
}

void InputStage::release() {
  if (copies_ && batches_ > 0) staging_[(batches_ - 1) % staging_.size()].arrived->synchronize();
}

}  // namespace lockstep
