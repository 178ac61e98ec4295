// The CUDA kernels: one `make` an operator, each defined in layers/cuda/<room>/<op>.cu, all listed in layers/list.inc.
#pragma once

#include <filesystem>
#include <map>
#include <memory>

#include "core/backend.h"
#include "core/kernel.h"

namespace lockstep {

/// How the kernels of one rank are chosen.
struct CudaKernelOptions {
  /// Algorithms that give the same bits at every run, chosen without timing; else the fastest, by timing.
  bool deterministic = true;
  /// Products of f32 tensors on tensor cores, in TF32.
  bool tf32 = false;
};

/// Which algorithm a library was told to use, by operator and shape: part of what a run's bits depend on. Shared by the
/// kernels of one rank and its thread.
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

/// The CUDA kernels of one rank, for `backend`, which make_cuda_backend made and which must outlive all kernels.
/// Choices that `engines` holds are used again (and refused with InputError where the library no longer has them);
/// those that are made are added.
/// Throws InputError in a build without CUDA.
KernelTable cuda_kernels(Backend& backend, const CudaKernelOptions& options, std::shared_ptr<EngineChoices> engines);

/// "9.19.0", "13.1.0": versions of the libraries that are linked; empty in a build without CUDA.
std::string cudnn_version();
std::string cublas_version();

}  // namespace lockstep
