// A checkpoint: a folder from which training goes on with the same bits, on any number of ranks and with any strategy.
// It holds whole variables (weights.safetensors), the optimizer's (optimizer.safetensors), those that callbacks keep
// (callbacks.safetensors), what they belong to (manifest.json), and hashes of all of it. Any thread.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "core/error.h"
#include "launch/files/safetensors.h"
#include "launch/train/state.h"
#include "layers/network/network.h"

namespace lockstep {

struct Checkpoint {
  TrainingState state;                   // with weights, slots as many as slot_names, loss scale and learning rate
  std::vector<std::string> slot_names;   // of the optimizer's variables: "<variable>/<slot>" in the file
  nlohmann::ordered_json configuration;  // what decides the bits: a run that goes on must have the same
  nlohmann::ordered_json run;            // what may be another: ranks, strategy, machine
};

/// Writes the folder under a temporary name, syncs all of it, and gives it its name, in place of what had it. Throws
/// Error with the system's reason; then no folder of that name is left half written. Where weights are not finite,
/// those that callbacks keep too, throws as expect_finite does, and writes nothing.
void write_checkpoint(const std::filesystem::path& folder, const Network& network, const Checkpoint& checkpoint);

/// A checkpoint is of a fit with other options, or of other data.
struct OtherConfiguration : InputError {
  OtherConfiguration(const std::string& what, std::string key) : InputError("{}", what), key(std::move(key)) {}
  std::string key;  // of the first entry that differs: "data/sha256"
};

/// A checkpoint that was read whole and is as it was written.
class StoredCheckpoint {
 public:
  /// Throws InputError that names file, byte and hash where a file is missing, truncated or changed, and where this is
  /// no checkpoint, or one of a later version.
  explicit StoredCheckpoint(std::filesystem::path folder);

  const std::filesystem::path& folder() const { return folder_; }
  const nlohmann::ordered_json& manifest() const { return manifest_; }
  int64_t step() const { return manifest_.at("step").get<int64_t>(); }
  /// Throws OtherConfiguration that names the first entry of `configuration` that this checkpoint has otherwise, and
  /// both values.
  void expect(const nlohmann::ordered_json& configuration) const;
  /// Throws InputError where the variables are not the network's.
  Weights weights(const Network& network) const;
  TrainingState state(const Network& network) const;

 private:
  Safetensors file(const std::string& name) const;

  std::filesystem::path folder_;
  nlohmann::ordered_json manifest_;
  std::map<std::string, std::vector<uint8_t>> files_;
};

/// The checkpoint that `path` names (see find_checkpoint). Throws InputError as StoredCheckpoint does, and then names
/// the newest good one beside it: another one is never taken silently.
StoredCheckpoint open_checkpoint(const std::filesystem::path& path);

/// Weights from a safetensors file, or from a checkpoint (see find_checkpoint).
Weights load_weights(const std::filesystem::path& path, const Network& network);

}  // namespace lockstep
