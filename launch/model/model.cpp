#include "launch/model/model.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <nlohmann/json.hpp>

#include "core/cpu/streams.h"
#include "core/error.h"
#include "core/log.h"
#include "core/plan/dump.h"
#include "launch/model/fit.h"
#include "launch/plan/draw.h"
#include "launch/plan/passes.h"
#include "launch/plan/plan_table.h"
#include "launch/record/weights_file.h"
#include "parallel/comm/gather.h"

namespace lockstep {

namespace {

/// Kernels of one instruction set, or GPU, or library have the bits of no other.
void check_alike(Communicator& comm, const Device& device) {
  const auto all = gather_texts(comm, computes_with(device));
  for (size_t rank = 1; rank < all.size(); ++rank)
    if (all[rank] != all[0])
      throw InputError(
          "rank 0 computes with {}, rank {} with {}: their bits differ; {}, or lift the promise with fast numerics",
          all[0], rank, all[rank],
          device.engines ? "use GPUs of one kind" : "set ONEDNN_MAX_CPU_ISA to what all have (such as AVX2)");
}

}  // namespace

void Model::compile(const CompileOptions& options) {
  static_cast<void>(Measures(options.loss, options.metrics, network_.output_shape()));  // refuses some
  options.optimizer.check();
  if (const float lr = options.optimizer.lr(); !(lr > 0) || !std::isfinite(lr))
    throw InputError("the learning rate is {}, expected a number above 0", lr);
  compiled_ = options.optimizer;
  loss_ = options.loss;
  metrics_ = options.metrics;
  state_ = {.weights = std::move(state_.weights)};
}

ResolvedRun Model::resolve(const RunOptions& options) const {
  ResolvedRun run = lockstep::resolve(options, runtime_, network_);
  run.step.loss = loss_;
  run.step.metrics = metrics_;
  return run;
}

void Model::check_images(const Dataset& data) const {
  if (data.image_shape() != network_.input_shape())
    throw InputError("the data's images are {}, the model '{}' takes {}", data.image_shape().str(), network_.name(),
                     network_.input_shape().str());
  if (data.size() == 0) throw InputError("the data set is empty");
}

void Model::check_targets(const Dataset& data) const {
  check_images(data);
  lockstep::check_targets(data, loss_, network_.output_shape(), network_.name());
}

void Model::on_ranks(const RunOptions& options, const ResolvedRun& run, const Body& body, const OnPass& on_pass) {
  const DeviceOptions choice{options.backend, options.comm, run.threads, run.step, options.engines};
  const bool splits = run.step.strategy.mesh.size() > 1;
  runtime_.run(run.ranks, [&](RankContext& rank) {
    Device device = make_device(choice, rank, runtime_.distributed());
    if (splits && device.engines && device.exchange == "mpi")
      throw InputError(
          "--comm mpi cannot exchange inside a sample on GPUs, where its waits may hold up one another; "
          "expected nccl or local");
    Trainer trainer(network_, {run.step, optimizer(), options.seed, options.check_finite, on_pass}, device.comm(rank),
                    *device.backend, device.kernels, &rank.comm);
    // Threads on one CPU cannot differ; on GPUs they can.
    if ((runtime_.distributed() || device.engines) && options.numerics == Numerics::reproducible)
      check_alike(rank.comm, device);
    if (!state_.weights.empty()) trainer.variables().set(state_.weights);
    if (!state_.slots.empty()) trainer.variables().set_slots(state_.slots);
    if (state_.loss_scale) trainer.variables().set_loss_scale(*state_.loss_scale);
    body(rank, trainer, device);
    if (rank.comm.rank() == 0) keep_timed_choices(device, options.numerics);
    trainer.variables().check_replicas();
  });
}

void Model::keep(RankContext& rank, Trainer& trainer, const Device& device) {
  // Threads share this object, and all hold the same: one writes. Processes have one each.
  const bool writes = rank.comm.rank() == 0 || runtime_.distributed();
  Weights weights = trainer.variables().get(writes);
  auto slots = trainer.variables().get_slots(writes);
  std::string sha256 = trainer.variables().sha256();
  if (!writes) return;
  kept_.state = {
      .weights = std::move(weights), .slots = std::move(slots), .loss_scale = trainer.variables().loss_scale()};
  kept_.sha256 = std::move(sha256);
  kept_.exchange = device.exchange;
  kept_.engines = device.engines ? device.engines->json() : "";
  kept_.profiled = trainer.profiled();
}

FitLength Model::check(const Dataset& data, const FitOptions& options) const {
  static_cast<void>(resolve(options.run));
  return length(data, options);
}

FitLength Model::length(const Dataset& data, const FitOptions& options) const {
  constexpr int64_t most = int64_t{1} << 31;
  check_targets(data);
  if (options.validation_data) check_targets(*options.validation_data);
  if (const Type target = data.target(); options.augmentation.any() && target.shape.rank() > 1)
    throw InputError("targets of {} a sample are not changed as augmented images are; expected no augmentation",
                     target.str());
  options.augmentation.check(data);
  if (const Type target = loss_.target(network_.output_shape());
      options.augmentation.mix.any() && target.dtype != DType::f32)
    throw InputError("mixup and cutmix blend targets, which {} cannot take; expected such as categorical_crossentropy",
                     loss_.name());
  if (options.validation_freq < 1)
    throw InputError("validation_freq is {}, expected a number of epochs from 1", options.validation_freq);
  for (const auto& callback : options.callbacks)
    if (!callback) throw InputError("a callback is null");
  const CheckpointOptions& saved = options.checkpoints;
  for (const auto& [name, number] : {std::pair{"every_steps", saved.every_steps}, {"every_epochs", saved.every_epochs}})
    if (number < 0) throw InputError("checkpoints {} is {}, expected a number from 0", name, number);
  if (saved.keep < 1) throw InputError("checkpoints keep is {}, expected a number from 1", saved.keep);
  for (const auto& [name, number] : {std::pair{"epochs", options.epochs}, {"steps", options.steps}})
    if (number && (*number < 1 || *number > most)) throw InputError("{} is {}, expected 1 to {}", name, *number, most);
  const int64_t batch = options.run.batch;
  const int64_t steps_per_epoch = (data.size() + batch - 1) / batch;
  const int64_t all = options.epochs || !options.steps ? options.epochs.value_or(1) * steps_per_epoch : *options.steps;
  const int64_t steps = std::min(options.steps.value_or(all), all);
  return {(steps + steps_per_epoch - 1) / steps_per_epoch, steps_per_epoch, steps};
}

History Model::fit(std::shared_ptr<const Dataset> data, const FitOptions& options) {
  const ResolvedRun run = resolve(options.run);
  const FitLength length = this->length(*data, options);
  std::optional<nlohmann::ordered_json> saved_with;
  if (!options.checkpoints.directory.empty()) saved_with = configuration(*data, options, run, length);
  const FitJob job{.network = network_,
                   .data = data,
                   .options = options,
                   .length = length,
                   .first_step = state_.steps_done - state_.fit.steps,
                   .first_epoch = state_.epochs_done - state_.fit.epochs,
                   .workers = run.workers,
                   .lr = optimizer().lr(),
                   .position = state_.fit,
                   .callbacks = state_.callbacks,
                   .slot_names = compiled_.slot_names(),
                   .configuration = saved_with ? &*saved_with : nullptr};
  expect_steps_left(state_.fit, length);
  Fitted fitted;
  on_ranks(options.run, run, [&](RankContext& rank, Trainer& trainer, Device& device) {
    if (rank.comm.rank() == 0) warn_of_other_bits(computes_with(device));
    if (options.run.profile && rank.comm.rank() == 0) trainer.profile();
    Fitted mine = fit_rank(job, rank, trainer, device);
    // What goes on later goes on from the weights themselves, whose average is among the slots.
    if (compiled_.common.use_ema && !mine.history.interrupted && mine.position.steps + job.first_step > 0)
      trainer.take_average();
    // Threads share what is left, processes have their own.
    if (rank.comm.rank() == 0 || runtime_.distributed()) fitted = std::move(mine);
    keep(rank, trainer, device);
  });
  // A last step's loss says nothing of the weights that it leaves.
  expect_finite(network_, kept_.state.weights,
                fmt::format("the weights after step {}", job.first_step + fitted.position.steps));
  state_ = std::move(kept_.state);
  state_.lr = fitted.lr;
  state_.steps_done = job.first_step + fitted.position.steps;
  state_.epochs_done = job.first_epoch + fitted.position.epochs;
  if (fitted.history.interrupted) {
    state_.fit = std::move(fitted.position);
    state_.callbacks = states_of(options.callbacks);
  }
  computed_with_.clear();
  weights_sha256_ = std::move(kept_.sha256);
  engines_ = std::move(kept_.engines);
  profiled_ = std::move(kept_.profiled);
  exchange_ = std::move(kept_.exchange);
  return std::move(fitted.history);
}

Evaluation Model::evaluate(std::shared_ptr<const Dataset> data, const RunOptions& options) {
  check_targets(*data);
  const ResolvedRun run = resolve(options);
  Evaluation evaluation;
  on_ranks(options, run, [&](RankContext& rank, Trainer& trainer, Device& device) {
    HostMemory memory(*device.backend);
    const Evaluation mine = evaluate_rank(data, options, run.workers, trainer, memory);
    std::string sha256 = trainer.variables().sha256();
    if (rank.comm.rank() != 0 && !runtime_.distributed()) return;
    evaluation = mine;
    weights_sha256_ = std::move(sha256);
  });
  return evaluation;
}

std::vector<float> Model::predict(std::shared_ptr<const Dataset> data, const RunOptions& options) {
  check_images(*data);
  const ResolvedRun run = resolve(options);
  const auto classes = static_cast<size_t>(network_.output_shape().elements());
  std::vector<float> predictions;
  on_ranks(options, run, [&](RankContext& rank, Trainer& trainer, Device&) {
    WorkerStream stream;
    FeedOptions feeding = feed_options(options, trainer.mesh(), run.workers);
    feeding.steps = (data->size() + options.batch - 1) / options.batch;
    BatchFeed feed(data, feeding);
    // Ranks that share a lane have the same, and lie next to each other.
    const auto together = static_cast<size_t>(trainer.mesh().strategy().ranks_per_lane());
    std::vector<float> all(static_cast<size_t>(options.batch) * classes * together);
    std::vector<float> gathered;
    for (int64_t i = 0; i < feeding.steps; ++i) {
      const Batch& batch = feed.next();
      const auto mine = trainer.predict(batch);
      rank.comm.all_gather(reinterpret_cast<const std::byte*>(mine.data()), reinterpret_cast<std::byte*>(all.data()),
                           mine.size() * sizeof(float), stream);
      stream.synchronize();
      for (size_t part = 1; part * mine.size() * together < all.size(); ++part)
        std::copy_n(all.data() + part * mine.size() * together, mine.size(), all.data() + part * mine.size());
      // Padding is at the end of the global batch.
      gathered.insert(gathered.end(), all.begin(),
                      all.begin() + static_cast<ptrdiff_t>(static_cast<size_t>(batch.samples) * classes));
    }
    if (rank.comm.rank() == 0 || runtime_.distributed()) predictions = std::move(gathered);
  });
  return predictions;
}

const std::vector<std::string>& pass_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Pass& pass : passes) all.emplace_back(pass.name);
    return all;
  }();
  return names;
}

std::string Model::plan(const RunOptions& options, const std::string& pass) {
  const Pass& asked = passes[index_of("pass", pass, pass_names())];
  std::map<std::string, std::string, std::less<>> text;
  std::mutex mutex;
  const ResolvedRun run = resolve(options);
  on_ranks(
      options, run,
      [&](RankContext& rank, Trainer& trainer, Device&) {
        const StepPlan plan = trainer.planned().plan;
        const PlanSummary mine =
            summarise(network_, plan, trainer.mesh(), trainer.variables().layout(), options.numerics);
        const PlanSummary summary = gather_stages(mine, trainer.mesh(), rank.comm);
        if (rank.comm.rank() != 0) return;
        const std::lock_guard lock(mutex);
        text["synchronise"] = dump(plan.graph, plan.order, plan.sync);
        text["step"] = dump(plan);
        text["layers"] = plan_table(network_, summary, trainer.mesh(), trainer.pipeline());
        text["svg"] = draw_plan(network_, summary, trainer.mesh());
      },
      [&](std::string_view name, const Graph& graph) {
        const std::lock_guard lock(mutex);
        text[std::string(name)] = dump(graph);
      });
  const bool of_one_stage = run.step.strategy.stages() > 1 && asked.of_one_stage;
  return (of_one_stage ? "stage 0, as rank 0 has it:\n" : "") + text[pass];
}

}  // namespace lockstep
