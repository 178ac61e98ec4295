// How a run goes on from a checkpoint: in which folder, with which of its records. Used by the thread that trains.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "launch/model/model.h"

namespace lockstep::cli {

struct Options;

/// A checkpoint, as --resume names it.
struct Resumed {
  std::filesystem::path checkpoint;
  std::filesystem::path run = {};  // the folder of the run that wrote it; empty where it does not lie in one
};

/// None without --resume. Throws InputError where there is no checkpoint.
std::optional<Resumed> resumed(const Options& options);
/// --out, or without it the run's folder that goes on.
std::string run_folder(const Options& options, const std::optional<Resumed>& from);

/// Model::resume, whose refusal then tells which options of the data are not the run's.
void resume(Model& model, const Resumed& from, const Dataset& data, const FitOptions& fit, const Options& options);

/// Makes the run's folder, which is there and this process' own, ready, with the metrics of the steps that are done and
/// the log of their epochs. `steps` are done, which may end within an epoch. Throws InputError where the folder, or
/// that of checkpoints, holds another run.
void prepare_folders(const Options& options, const CheckpointOptions& checkpoints, const std::optional<Resumed>& from,
                     int64_t steps, bool within_epoch);
/// Adds to a new manifest what the one of the run before says of its start.
void note_resumed(nlohmann::ordered_json& manifest, const std::string& out, const Resumed& from, int64_t step);

/// A run that a signal has ended early.
struct Interruption {
  Interruption(const CheckpointOptions& checkpoints, int64_t step);
  std::string text(int64_t steps) const;
  nlohmann::ordered_json json() const;

  std::string signal;
  int64_t step;
  std::string checkpoint;  // empty where there is no folder for one
};

}  // namespace lockstep::cli
