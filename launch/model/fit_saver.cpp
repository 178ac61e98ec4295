#include "launch/model/fit_saver.h"

namespace lockstep {

FitSaver::FitSaver(const FitJob& job, Trainer& trainer, Communicator& host, std::string computed_with)
    : job_(job), trainer_(trainer), host_(host), computed_with_(std::move(computed_with)) {
  const CheckpointOptions& options = job.options.checkpoints;
  if (options.directory.empty() || host.rank() != 0) return;
  writer_.emplace(job.network, options.directory, options.keep);
}

bool FitSaver::due(int64_t steps, int64_t epochs, bool ends_epoch) const {
  const CheckpointOptions& options = job_.options.checkpoints;
  if (options.directory.empty()) return false;
  const bool by_steps = options.every_steps > 0 && steps % options.every_steps == 0;
  return by_steps || (ends_epoch && options.every_epochs > 0 && epochs % options.every_epochs == 0);
}

void FitSaver::save(const FitPosition& position, float lr) {
  if (job_.options.checkpoints.directory.empty() || saved_ == position.steps) return;
  saved_ = position.steps;
  const bool wanted = host_.rank() == 0;
  Checkpoint checkpoint;
  TrainingState& state = checkpoint.state;
  state.weights = trainer_.variables().get(wanted);
  state.slots = trainer_.variables().get_slots(wanted);
  if (!wanted) return;
  state.loss_scale = trainer_.variables().loss_scale();
  state.lr = lr;
  state.steps_done = job_.first_step + position.steps;
  state.epochs_done = job_.first_epoch + position.epochs;
  state.fit = position;
  state.callbacks = states_of(job_.options.callbacks);
  checkpoint.slot_names = job_.slot_names;
  checkpoint.configuration = *job_.configuration;
  checkpoint.run = {{"ranks", host_.size()}, {"computed_with", computed_with_}};
  writer_->start(std::move(checkpoint));
}

}  // namespace lockstep
