#include "launch/model/model_impl.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/log.h"
#include "launch/data/targets.h"
#include "launch/model/fit_configuration.h"
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

ResolvedRun Model::Impl::resolve(const RunOptions& options) const {
  ResolvedRun run = lockstep::resolve(options, runtime, network);
  run.step.loss = compiled.loss;
  run.step.metrics = compiled.metrics;
  return run;
}

void Model::Impl::check_images(const Dataset& data) const {
  if (data.image_shape() != network.input_shape())
    throw InputError("the data's images are {}, the model '{}' takes {}", data.image_shape().str(), network.name(),
                     network.input_shape().str());
  if (data.size() == 0) throw InputError("the data set is empty");
}

void Model::Impl::check_targets(const Dataset& data) const {
  check_images(data);
  lockstep::check_targets(data, compiled.loss, network.output_shape(), network.name());
}

void Model::Impl::on_ranks(const RunOptions& options, const ResolvedRun& run, const Body& body, const OnPass& on_pass) {
  const DeviceOptions choice{options.backend, options.comm, run.threads, run.step, options.engines};
  const bool splits = run.step.strategy.mesh.size() > 1;
  runtime.run(run.ranks, [&](RankContext& rank) {
    Device device = make_device(choice, rank, runtime.distributed());
    if (splits && device.engines && device.exchange == "mpi")
      throw InputError(
          "--comm mpi cannot exchange inside a sample on GPUs, where its waits may hold up one another; "
          "expected nccl or local");
    Trainer trainer(network, {run.step, optimizer(), options.seed, options.check_finite, on_pass}, device.comm(rank),
                    *device.backend, device.kernels, &rank.comm);
    // Threads on one CPU cannot differ; on GPUs they can.
    if ((runtime.distributed() || device.engines) && options.numerics == Numerics::reproducible)
      check_alike(rank.comm, device);
    if (!state.weights.empty()) trainer.variables().set(state.weights);
    if (!state.slots.empty()) trainer.variables().set_slots(state.slots);
    if (state.loss_scale) trainer.variables().set_loss_scale(*state.loss_scale);
    body(rank, trainer, device);
    if (rank.comm.rank() == 0) keep_timed_choices(device, options.numerics);
    trainer.variables().check_replicas();
  });
}

Model::Impl::Kept Model::Impl::kept_of(RankContext& rank, Trainer& trainer, const Device& device) const {
  // Threads hold the same, one gives it; processes have one each.
  const bool gives = rank.comm.rank() == 0 || runtime.distributed();
  Kept kept{.state = {.weights = trainer.variables().get(gives),
                      .slots = trainer.variables().get_slots(gives),
                      .loss_scale = trainer.variables().loss_scale()}};
  kept.sha256 = trainer.variables().sha256();
  kept.exchange = device.exchange;
  kept.engines = device.engines ? device.engines->json() : "";
  kept.profiled = trainer.profiled();
  return kept;
}

FitLength Model::Impl::length(const Dataset& data, const FitOptions& options) const {
  constexpr int64_t most = int64_t{1} << 31;
  check_targets(data);
  if (options.validation_data) check_targets(*options.validation_data);
  if (const Type target = data.target(); options.augmentation.any() && target.shape.rank() > 1)
    throw InputError("targets of {} a sample are not changed as augmented images are; expected no augmentation",
                     target.str());
  options.augmentation.check(data);
  if (const Type target = compiled.loss.target(network.output_shape());
      options.augmentation.mix.any() && target.dtype != DType::f32)
    throw InputError("mixup and cutmix blend targets, which {} cannot take; expected such as categorical_crossentropy",
                     compiled.loss.name());
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

Optimizer Model::Impl::optimizer() const {
  Optimizer optimizer = compiled.optimizer;
  if (state.lr) optimizer.set_lr(*state.lr);
  return optimizer;
}

nlohmann::ordered_json Model::Impl::configuration(const Dataset& data, const FitOptions& options,
                                                  const ResolvedRun& run, const FitLength& length) const {
  return fit_configuration(network, compiled, data, options, length, run.lanes, run.threads);
}

void expect_steps_left(const FitPosition& position, const FitLength& length) {
  if (position.steps > length.steps)
    throw InputError("{} steps of the fit are done already, expected a fit of at least as many, not of {}",
                     position.steps, length.steps);
}

void Model::Impl::warn_of_other_bits(const std::string& computing_with) const {
  if (!computed_with.empty() && computed_with != computing_with)
    log().warn("the checkpoint was computed with {}, this run computes with {}: it goes on with other bits",
               computed_with, computing_with);
}

}  // namespace lockstep
