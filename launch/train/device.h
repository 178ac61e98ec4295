// What one rank computes with: its backend, its kernels, and the communicator of its steps. Each belongs to the rank's
// thread.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "core/backend.h"
#include "core/graph/kernel.h"
#include "launch/backends/backends.h"
#include "launch/host/runtime.h"
#include "launch/plan/step_options.h"

namespace lockstep {

struct DeviceOptions {
  BackendChoice backend = BackendChoice::automatic;
  CommChoice comm = CommChoice::automatic;
  int threads = 1;  // of the CPU
  StepOptions step = {};
  std::filesystem::path engines = {};  // choices of algorithms to repeat, as a run has written them; empty: none
};

struct Device {
  const BackendKind* kind = nullptr;
  std::unique_ptr<Backend> backend;
  KernelTable kernels;
  std::shared_ptr<EngineChoices> engines;  // what the kernels were told to use; of GPUs alone
  std::unique_ptr<Communicator> own_comm;  // none where the rank's own does
  std::string exchange;                    // what moves the steps' data between ranks: "local", "mpi" or "nccl"
  int sharing = 1;                         // ranks that compute on it

  /// For buffers of the backend.
  Communicator& comm(RankContext& rank) const { return own_comm ? *own_comm : rank.comm; }
};

/// The rank's device; all ranks call together. Throws InputError where the host has fewer GPUs than ranks need.
Device make_device(const DeviceOptions& options, RankContext& rank, bool distributed);

/// Keeps the choices that a fast run has timed, for later runs with the same GPU model and library versions, in
/// $XDG_CACHE_HOME/lockstep (~/.cache/lockstep); make_device reads them there in fast mode. Says so where it cannot.
void keep_timed_choices(const Device& device, Numerics numerics) noexcept;

/// What the bits of a rank's results depend on: "oneDNN 2.6.3 on avx2", "NVIDIA H200, cuDNN 9.19.0, cuBLAS 13.1.0".
std::string computes_with(const Device& device);

}  // namespace lockstep
