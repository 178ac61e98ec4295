// How the kernels of a device are chosen, and what was chosen. Shared by the kernels of one rank and its thread.
#pragma once

#include <filesystem>
#include <map>
#include <string>

namespace lockstep {

/// How the kernels of one rank are chosen.
struct KernelOptions {
  /// Algorithms that give the same bits at every run, chosen without timing; else the fastest, by timing.
  bool deterministic = true;
  /// Products of f32 tensors on tensor cores, in TF32.
  bool tf32 = false;
};

/// Which algorithm a library was told to use, by operator and shape: part of what a run's bits depend on.
class EngineChoices {
 public:
  /// The choice made before for `key` ("conv2d f16[…] …"), empty where there is none.
  std::string find(const std::string& key) const;
  void keep(const std::string& key, const std::string& engine) { choices_[key] = engine; }
  /// JSON, an object of keys and engines, and back. Reading throws InputError with the file's name.
  std::string json() const;
  void read(const std::filesystem::path& file);

 private:
  std::map<std::string, std::string> choices_;
};

}  // namespace lockstep
