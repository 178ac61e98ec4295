// What a Model is made of: a network, what was compiled, and the state of its training. The model's thread.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "launch/model/model.h"
#include "launch/train/device.h"
#include "launch/train/trainer.h"

namespace lockstep {

class Model::Impl {
 public:
  Impl(Network network, Runtime& runtime) : network(std::move(network)), runtime(runtime) {}

  /// See Model::resolve.
  ResolvedRun resolve(const RunOptions& options) const;
  using Body = std::function<void(RankContext&, Trainer&, Device&)>;
  /// Runs `body` on each rank with its device and a trainer that holds the model's weights.
  void on_ranks(const RunOptions& options, const ResolvedRun& run, const Body& body, const OnPass& on_pass = {});
  void check_images(const Dataset& data) const;
  /// And that the loss takes the data's targets.
  void check_targets(const Dataset& data) const;
  /// With the learning rate that callbacks have set.
  Optimizer optimizer() const;
  void warn_of_other_bits(const std::string& computing_with) const;
  /// See Model::check; for a run that is resolved.
  FitLength length(const Dataset& data, const FitOptions& options) const;
  nlohmann::ordered_json configuration(const Dataset& data, const FitOptions& options, const ResolvedRun& run,
                                       const FitLength& length) const;

  /// What a run leaves; taken over when all ranks have ended well.
  struct Kept {
    TrainingState state = {};
    std::string sha256 = {}, engines = {}, exchange = {}, profiled = {};
  };
  /// On each rank; what the first one returns counts, and where processes are ranks each one's.
  Kept kept_of(RankContext& rank, Trainer& trainer, const Device& device) const;

  const Network network;
  Runtime& runtime;
  CompileOptions compiled;  // as it was given; the state has the rate that callbacks have set
  TrainingState state;
  std::string weights_sha256, engines, exchange, profiled;
  std::string computed_with;  // of a checkpoint that was resumed
};

/// Throws InputError where more steps of the fit are done than it has.
void expect_steps_left(const FitPosition& position, const FitLength& length);

}  // namespace lockstep
