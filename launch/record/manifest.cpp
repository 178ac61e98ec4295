#include "launch/record/manifest.h"

#include <fmt/chrono.h>

#include <array>

#include "core/error.h"
#include "launch/files/durable.h"
#include "launch/host/build_info.h"
#include "launch/host/system_info.h"

namespace lockstep {

namespace {

namespace fs = std::filesystem;

constexpr std::array run_files{"manifest.json", "metrics.jsonl", "weights.safetensors"};

}  // namespace

void discard_run_directory(const fs::path& directory) noexcept {
  std::error_code error;
  for (const char* name : run_files) fs::remove(directory / name, error);
  fs::remove(directory / "checkpoints", error);  // if empty
}

void expect_no_run(const fs::path& directory) {
  for (const char* name : run_files) {
    std::error_code error;
    if (fs::exists(directory / name, error))
      throw InputError("output directory '{}' holds another run ({} is there); give a new one", directory.string(),
                       name);
  }
}

std::string utc(std::chrono::system_clock::time_point time) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

Manifest::Manifest() {
  const BuildInfo& build = build_info();
  json_["lockstep"] = build.version;
  json_["build"] = {{"git_revision", build.git_revision},
                    {"git_dirty", nlohmann::ordered_json(build.git_dirty == "unknown" ? nullptr : nlohmann::ordered_json(build.git_dirty == "true"))},
                    {"compiler", build.compiler},
                    {"type", build.build_type},
                    {"march", build.march}};
  json_["started"] = utc(std::chrono::system_clock::now());
  json_["ended"] = nullptr;
  json_["libraries"] = library_versions();
  json_["system"] = system_info();
}

void Manifest::write(const fs::path& directory) {
  if (json_.contains("result")) json_["ended"] = utc(std::chrono::system_clock::now());
  // A path need not be UTF-8; JSON must be.
  const auto replace = nlohmann::ordered_json::error_handler_t::replace;
  write_atomically(directory / "manifest.json", json_.dump(2, ' ', false, replace) + "\n");
}

}  // namespace lockstep
