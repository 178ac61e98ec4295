#include "launch/input_stage.h"

namespace lockstep {

InputStage::InputStage(Backend& backend, Executor& executor, const Step& step)
    : executor_(executor),
      images_(step.images),
      labels_(step.labels),
      lane_state_(step.lane_state),
      step_state_(step.step_state),
      states_(backend, slots * sizeof(StepState), Memory::host) {
  if (!executor.stream().on_device()) return;
  copies_ = backend.side_stream();
  for (Staging& staging : staging_) {
    staging.memory = Arena(backend, executor.region(Region::LaneInput).size());
    staging.arrived = copies_->event();
    staging.consumed = copies_->event();
  }
}

InputStage::~InputStage() {
  try {
    executor_.stream().synchronize();
  } catch (...) {
    // Whoever waited for the step has heard of it.
  }
}

void InputStage::copy_lanes(const Batch& batch, std::byte* mirror, Stream& stream) const {
  const std::byte* region = executor_.region(Region::LaneInput).data();
  const auto lanes = static_cast<size_t>(executor_.plan().lanes);
  for (size_t lane = 0; lane < lanes; ++lane) {
    const auto copy = [&](Value value, const auto& data) {
      if (!value) return;
      std::byte* const to = executor_.tensor(value, static_cast<int>(lane)).data;
      const size_t bytes = data.size() / lanes * sizeof(data[0]);
      const auto* from = reinterpret_cast<const std::byte*>(data.data()) + lane * bytes;
      stream.copy(mirror ? mirror + (to - region) : to, from, bytes);
    };
    copy(images_, batch.images);
    copy(labels_, batch.labels);
    copy(lane_state_, batch.lanes);
  }
}

void InputStage::put(const Batch& batch, const StepState& state) {
  Stream& compute = executor_.stream();
  if (copies_) {
    Staging& staging = staging_[batches_++ % staging_.size()];
    const auto inputs = executor_.region(Region::LaneInput);
    copies_->wait(*staging.consumed);
    copy_lanes(batch, staging.memory.data(), *copies_);
    copies_->record(*staging.arrived);
    compute.wait(*staging.arrived);
    compute.copy(inputs.data(), staging.memory.data(), inputs.size());
    compute.record(*staging.consumed);
  } else {
    copy_lanes(batch, nullptr, compute);
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
