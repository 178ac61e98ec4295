// manifest.json: what a run was, so that it can be repeated and compared; and the directory it lies in. One thread.
#pragma once

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace lockstep {

/// Throws InputError where the directory holds a file of a run already.
void expect_no_run(const std::filesystem::path& directory);

/// Removes the files of a run that was refused before its first step, and its folder of checkpoints where that is
/// empty.
void discard_run_directory(const std::filesystem::path& directory) noexcept;

/// "2025-03-01T12:00:00Z"
std::string utc(std::chrono::system_clock::time_point time);

class Manifest {
 public:
  /// Notes the time and what is known from the start: build, system and libraries.
  Manifest();

  /// {"lockstep", "build", "started", "ended", "libraries", "system"}, then whatever the caller adds: "configuration"
  /// (resolved, after defaults), "data", "plan", "result", …
  nlohmann::ordered_json& json() { return json_; }
  /// Writes `directory`/manifest.json, whole or not at all. "ended" is null until there is a "result": a manifest
  /// without one belongs to a run that goes on, or that failed.
  void write(const std::filesystem::path& directory);

 private:
  nlohmann::ordered_json json_;
};

}  // namespace lockstep
