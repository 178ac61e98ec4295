// A training run with all defaults resolved, for what tells people and the manifest of it. Used by the thread that
// trains.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "launch/data/readers/open.h"
#include "launch/model/model.h"

namespace lockstep::cli {

struct Options;

/// What is being trained.
struct Job {
  const Options& options;
  const RunOptions& given;
  const ResolvedRun& run;
  const PreparedData& data;
  const Model& model;
  Optimizer optimizer;
  Runtime& runtime;
  FitLength length;
};

/// A run that must share its cores is right, but slow, and its times say little.
void warn_of_shared_cores(const Job& job);
/// Ranks, backend, model and data, on standard output.
void print_header(const Job& job);
/// Into the manifest: the configuration with all defaults, hosts, GPUs, seeds, network and data.
void describe(const Job& job, nlohmann::ordered_json& text);

}  // namespace lockstep::cli
