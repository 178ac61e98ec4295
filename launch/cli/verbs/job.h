// A training run as it was settled, for what tells people and the manifest of it. Used by the thread that trains.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "launch/cli/options/options.h"

namespace lockstep::cli {

/// What is being trained, with all defaults resolved.
struct Job {
  const Options& options;
  const RunOptions& run;
  const PreparedData& data;
  const Model& model;
  Optimizer optimizer;
  Runtime& runtime;
  FitLength length;
  std::map<std::string, int> stages;  // by layer; only of a pipeline

  int ranks() const { return model.ranks(run); }
  int lanes() const { return run.numerics == Numerics::fast ? ranks() : run.lanes; }
};

/// A run that must share its cores is right, but slow, and its times say little.
void warn_of_shared_cores(const Job& job);
/// Ranks, backend, model and data, on standard output.
void print_header(const Job& job);
/// Into the manifest: the configuration with all defaults, hosts, GPUs, seeds, network and data.
void describe(const Job& job, nlohmann::ordered_json& text);

}  // namespace lockstep::cli
