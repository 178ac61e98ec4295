// What a model keeps in files, and takes from them.
#include "core/error.h"
#include "core/log.h"
#include "launch/model/fit_configuration.h"
#include "launch/model/model.h"
#include "launch/record/checkpoint.h"
#include "launch/record/weights_file.h"

namespace lockstep {

Optimizer Model::optimizer() const {
  Optimizer optimizer = compiled_;
  if (state_.lr) optimizer.set_lr(*state_.lr);
  return optimizer;
}

nlohmann::ordered_json Model::configuration(const Dataset& data, const FitOptions& options, const ResolvedRun& run,
                                            const FitLength& length) const {
  return fit_configuration(network_, {compiled_, loss_, metrics_}, data, options, length, run.lanes, run.threads);
}

void Model::save_weights(const std::filesystem::path& path) const {
  if (state_.weights.empty()) throw Error("the model has no weights to save yet: they come with the first fit");
  write_weights(path.string(), network_, state_.weights);
}

void Model::load_weights(const std::filesystem::path& path) { state_.weights = lockstep::load_weights(path, network_); }

void Model::resume(const std::filesystem::path& checkpoint, const Dataset& data, const FitOptions& options) {
  const ResolvedRun run = resolve(options.run);
  const FitLength length = this->length(data, options);
  const nlohmann::ordered_json mine = configuration(data, options, run, length);
  const StoredCheckpoint stored = open_checkpoint(checkpoint);
  stored.expect(mine);
  TrainingState state = stored.state(network_);
  expect_steps_left(state.fit, length);
  state_ = std::move(state);
  computed_with_ = stored.manifest().at("run").value("computed_with", "");
}

void Model::expect_steps_left(const FitPosition& position, const FitLength& length) {
  if (position.steps > length.steps)
    throw InputError("{} steps of the fit are done already, expected a fit of at least as many, not of {}",
                     position.steps, length.steps);
}

void Model::warn_of_other_bits(const std::string& computing_with) const {
  if (!computed_with_.empty() && computed_with_ != computing_with)
    log().warn("the checkpoint was computed with {}, this run computes with {}: it goes on with other bits",
               computed_with_, computing_with);
}

}  // namespace lockstep
