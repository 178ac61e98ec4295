#include "launch/train/trainer.h"

#include <cmath>

#include "core/error.h"
#include "core/log.h"
#include "launch/data/feed/feed.h"
#include "launch/plan/view/profile.h"

namespace lockstep {

Trainer::Trainer(const Network& network, const TrainerOptions& options, Communicator& comm, Backend& backend,
                 const KernelTable& kernels, Communicator* host)
    : network_(network),
      options_(options),
      placed_(network, options.step, comm.size()),
      mesh_(placed_.strategy(), comm),
      backend_(backend),
      kernels_(kernels),
      measures_(options.step.loss, options.step.metrics, network.output_shape()),
      variables_(network, backend, options.optimizer.slots(), options.seed, placed_.shards(mesh_), &mesh_,
                 host ? host : &comm),
      results_(backend, InputStage::slots * (1 + measures_.floats()) * sizeof(float), Memory::host) {
  variables_.set_loss_scale(LossScale::first(options.step.batch));
  if (options.step.strategy.shard_optimizer) {
    planned_ = planned();
    OwnedRanges owned = planned_->owned;
    if (owned.empty()) owned.push_back({{0, variables_.layout().parameter_bytes, 0}});  // one rank keeps all
    variables_.own(std::move(owned));
  }
}

Trainer::Engine::Engine(Step planned, Backend& backend, VariableMemory& variables)
    : step(std::move(planned)), executor(std::move(step.plan), backend, variables), inputs(backend, executor, step) {}

Step Trainer::plan(const StepOptions& options) {
  if (planned_) return *std::exchange(planned_, std::nullopt);
  return plan_training(network_, options_.optimizer, options, target());
}

StepTarget Trainer::target() { return {variables_.layout(), kernels_, backend_, mesh_, options_.on_pass}; }

Trainer::Engine& Trainer::engine(std::optional<Engine>& slot, const Plan& plan) {
  if (slot) return *slot;
  Step step = plan(options_.step);
  log().debug("rank {}: planned a step of {} nodes over {} lanes, arena {} bytes", mesh_.world().rank(),
              step.plan.graph.nodes().size(), step.plan.lanes, step.plan.memory.size(Region::arena));
  check_memory(step.plan, plan);
  slot.emplace(std::move(step), backend_, variables_.memory());
  slot->executor.check_finite(options_.check_finite);
  if (!options_.replay) slot->executor.never_replay();
  return *slot;
}

Trainer::Engine& Trainer::training() {
  return engine(training_, [this](const StepOptions& options) { return plan(options); });
}

Trainer::Engine& Trainer::evaluation() {
  return engine(evaluation_,
                [this](const StepOptions& options) { return plan_evaluation(network_, options, target()); });
}

Trainer::Engine& Trainer::prediction() {
  return engine(prediction_,
                [this](const StepOptions& options) { return plan_prediction(network_, options, target()); });
}

void Trainer::check_memory(const StepPlan& plan, const Plan& plan_again) const {
  const auto free = backend_.free_memory();
  const auto needed = [](const StepPlan& p) { return Executor::bytes(p) + InputStage::bytes(p); };
  const size_t need = needed(plan);
  if (!free || need <= *free) return;
  // Most of it grows with the batch: from there down to the first that fits.
  const StepOptions& given = options_.step;
  const int64_t unit = given.numerics == Numerics::fast ? mesh_.data_ranks() : given.lanes;
  StepOptions smaller = given;
  smaller.batch =
      static_cast<int64_t>(static_cast<double>(given.batch) * static_cast<double>(*free) / static_cast<double>(need)) /
      unit * unit;
  while (smaller.batch > 0 && needed(plan_again(smaller).plan) > *free)
    smaller.batch -= std::max<int64_t>(smaller.batch / 16 / unit, 1) * unit;
  constexpr double gib = 0x1p30;
  throw InputError("batch {} needs {:.2f} GiB on {}, {:.2f} GiB are free; {}", given.batch,
                   static_cast<double>(need) / gib, backend_.name(), static_cast<double>(*free) / gib,
                   smaller.batch > 0 ? fmt::format("a batch of {} would fit", smaller.batch)
                                     : "no batch would fit: use a smaller model or images");
}

bool Trainer::keep_images(int64_t samples, int sharing) {
  InputStage& inputs = training().inputs;
  const size_t free = backend_.free_memory().value_or(0);
  return inputs.keep_images(backend_, samples, free / 2 / static_cast<size_t>(sharing));
}

const StepPlan& Trainer::training_plan() { return training().executor.plan(); }

void Trainer::profile() { training().executor.time_nodes(&times_); }

std::string Trainer::profiled() const {
  return steps_timed_ > 0 ? profile_table(training_->executor.plan(), times_, steps_timed_) : "";
}

template <class Read>
void Trainer::read_sums(Engine& engine, float* to, Read&& read) const {
  const auto take = [&](Value value) {
    const Tensor from = engine.executor.tensor(value);
    read(reinterpret_cast<std::byte*>(to), from.data, from.type.bytes());
    to += from.elements();
  };
  take(engine.step.loss);
  for (const Value tally : engine.step.tallies) take(tally);
}

StepResult Trainer::result_of(const float* sums, int64_t samples) const {
  return {.loss = sums[0] / static_cast<float>(samples),
          .loss_sum = sums[0],
          .sums = {sums + 1, sums + 1 + measures_.floats()},
          .samples = samples};
}

void Trainer::enqueue(int64_t step, int64_t samples, const std::function<void(Engine&)>& feed) {
  if (pending_.size() == most_pending) throw Error("{} steps are under way, no more may be", pending_.size());
  Engine& engine = training();
  Stream& compute = engine.executor.stream();
  const size_t slot = (last_.slot + 1) % InputStage::slots;
  try {
    feed(engine);
    engine.executor.enqueue();
    if (!times_.runs.empty()) ++steps_timed_;
    mesh_.watch(compute);
  } catch (const InputError&) {
    throw;
  } catch (const Error& error) {
    throw Error("step {}: {}", step, error.what());
  }
  read_sums(engine, sums_of(slot),
            [&](std::byte* to, const std::byte* from, size_t bytes) { compute.copy(to, from, bytes); });
  if (!done_[slot]) done_[slot] = compute.event();
  compute.record(*done_[slot]);
  last_ = {step, samples, slot};
  pending_.push_back(last_);
  variables_changed();
}

void Trainer::variables_changed() {
  for (auto* engine : {&evaluation_, &prediction_})
    if (*engine) (*engine)->executor.parameters_changed();
}

void Trainer::synchronize() {
  if (!pending_.empty()) done_[pending_.back().slot]->synchronize();
}

void Trainer::set_weights(const Weights& weights) {
  variables_.set(weights);
  variables_changed();
  if (training_) training_->executor.parameters_changed();
}

void Trainer::start(const Batch& batch, float lr) {
  enqueue(batch.step, batch.samples, [&](Engine& engine) {
    engine.inputs.put(batch, {options_.seed, static_cast<uint64_t>(batch.step), batch.samples, lr, 0});
  });
  training_->inputs.release();
}

void Trainer::start_again(float lr) {
  if (!training_) throw Error("no batch was started yet");
  const int64_t step = last_.step + 1, samples = last_.samples;
  enqueue(step, samples, [&](Engine& engine) {
    engine.inputs.put({options_.seed, static_cast<uint64_t>(step), samples, lr, 0});
  });
}

StepResult Trainer::wait() {
  if (pending_.empty()) throw Error("no step is under way");
  const Pending oldest = pending_.front();
  pending_.pop_front();
  try {
    done_[oldest.slot]->synchronize();
    mesh_.check();
  } catch (const InputError&) {
    throw;
  } catch (const Error& error) {
    throw Error("step {}: {}", oldest.step, error.what());
  }
  StepResult result = result_of(sums_of(oldest.slot), oldest.samples);
  if (!std::isfinite(result.loss))
    throw Error("step {}: the loss is {}; run again with --check-finite to see the first node that yields it",
                oldest.step, result.loss);
  return result;
}

void Trainer::take_average() {
  Weights weights = variables_.get();
  std::vector<Weights> slots = variables_.get_slots();
  for (auto& [name, average] : slots.back()) weights[name] = std::move(average);
  set_weights(weights);
}

StepResult Trainer::evaluate(const Batch& batch) {
  Engine& engine = evaluation();
  engine.inputs.put(batch,
                    {.seed = options_.seed, .step = static_cast<uint64_t>(batch.step), .samples = batch.samples});
  engine.executor.run();
  mesh_.check();
  std::vector<float> sums(1 + measures_.floats());
  read_sums(engine, sums.data(),
            [&](std::byte* to, const std::byte* from, size_t bytes) { backend_.copy(to, from, bytes); });
  return result_of(sums.data(), batch.samples);
}

std::vector<float> Trainer::predict(const Batch& batch) {
  Engine& engine = prediction();
  engine.inputs.put(batch,
                    {.seed = options_.seed, .step = static_cast<uint64_t>(batch.step), .samples = batch.samples});
  engine.executor.run();
  std::vector<float> predictions;
  for (int lane = 0; lane < engine.executor.plan().lanes; ++lane) {
    const Tensor out = engine.executor.tensor(engine.step.predictions, lane);
    const size_t before = predictions.size();
    predictions.resize(before + static_cast<size_t>(out.elements()));
    backend_.copy(reinterpret_cast<std::byte*>(predictions.data() + before), out.data, out.type.bytes());
  }
  return predictions;
}

}  // namespace lockstep
