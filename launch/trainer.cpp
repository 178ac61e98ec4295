#include "launch/trainer.h"

#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/log.h"

namespace lockstep {

Trainer::Trainer(const Network& network, const TrainerOptions& options, Communicator& comm, Backend& backend,
                 const KernelTable& kernels)
    : network_(network),
      options_(options),
      comm_(comm),
      backend_(backend),
      kernels_(kernels),
      variables_(network, backend, options.optimizer.slots(), options.seed) {}

Trainer::Engine& Trainer::engine(std::optional<Engine>& slot, Step step) {
  StepPlan plan = std::move(step.plan);
  log().debug("rank {}: planned a step of {} nodes over {} lanes, arena {} bytes", comm_.rank(),
              plan.graph.nodes().size(), plan.lanes, plan.memory.size(Region::Arena));
  slot.emplace(std::move(step), Executor(std::move(plan), backend_, variables_.memory()));
  slot->executor.check_finite(options_.check_finite);
  return *slot;
}

Trainer::Engine& Trainer::training() {
  if (training_) return *training_;
  return engine(training_, plan_training(network_, options_.optimizer, options_.step,
                                         {variables_.layout(), kernels_, backend_, comm_, options_.on_pass}));
}

Trainer::Engine& Trainer::inference(std::optional<Engine>& slot, Plan plan) {
  if (slot) return *slot;
  return engine(slot,
                plan(network_, options_.step, {variables_.layout(), kernels_, backend_, comm_, options_.on_pass}));
}

const StepPlan& Trainer::training_plan() { return training().executor.plan(); }

void Trainer::feed(Engine& engine, const Batch& batch, float lr) const {
  const auto& [step, executor] = engine;
  const auto write = [&](Value value, int lane, const void* data, size_t bytes) {
    if (value) std::memcpy(executor.tensor(value, lane).data, data, bytes);
  };
  const size_t image_bytes = executor.tensor(step.images).type.bytes();
  const auto labels = batch.labels.size() / batch.lanes.size();
  for (int lane = 0; lane < executor.plan().lanes; ++lane) {
    const auto at = static_cast<size_t>(lane);
    write(step.images, lane, reinterpret_cast<const std::byte*>(batch.images.data()) + at * image_bytes, image_bytes);
    write(step.labels, lane, batch.labels.data() + at * labels, labels * sizeof(int32_t));
    write(step.lane_state, lane, &batch.lanes[at], sizeof(LaneState));
  }
  const StepState state{options_.seed, static_cast<uint64_t>(batch.step), batch.samples, lr, 0};
  write(step.step_state, 0, &state, sizeof state);
}

StepResult Trainer::sums(const Engine& engine) const {
  return {*engine.executor.tensor(engine.step.loss).as(), *engine.executor.tensor(engine.step.correct).as()};
}

StepResult Trainer::train(const Batch& batch, float lr) {
  Engine& engine = training();
  feed(engine, batch, lr);
  try {
    engine.executor.run();
  } catch (const InputError&) {
    throw;
  } catch (const Error& error) {
    throw Error("step {}: {}", batch.step, error.what());
  }
  if (evaluation_) evaluation_->executor.parameters_changed();
  if (prediction_) prediction_->executor.parameters_changed();
  StepResult result = sums(engine);
  const auto samples = static_cast<float>(batch.samples);
  result.loss /= samples;
  result.accuracy /= samples;
  if (!std::isfinite(result.loss))
    throw Error("step {}: the loss is {}; run again with --check-finite to see the first node that yields it",
                batch.step, result.loss);
  return result;
}

StepResult Trainer::evaluate(const Batch& batch) {
  Engine& engine = inference(evaluation_, plan_evaluation);
  feed(engine, batch);
  engine.executor.run();
  return sums(engine);
}

std::vector<float> Trainer::predict(const Batch& batch) {
  Engine& engine = inference(prediction_, plan_prediction);
  feed(engine, batch);
  engine.executor.run();
  std::vector<float> predictions;
  for (int lane = 0; lane < engine.executor.plan().lanes; ++lane) {
    const Tensor out = engine.executor.tensor(engine.step.predictions, lane);
    predictions.insert(predictions.end(), out.as(), out.as() + out.elements());
  }
  return predictions;
}

}  // namespace lockstep
