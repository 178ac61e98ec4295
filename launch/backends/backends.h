// The backends, once: a new one is a line in the list of backends.cpp, and a name here. Any thread may ask.
#pragma once

#include <span>
#include <string_view>

#include "launch/backends/backend_kind.h"
#include "launch/backends/choices.h"

namespace lockstep {

struct BackendRow {
  std::string_view name;         // "cuda", as --backend has it
  std::string_view title;        // "CUDA", for people
  const BackendKind& (*kind)();  // loads it at the first call
};

/// The CPU, which is always there, comes first.
std::span<const BackendRow> backends();
/// The backend that a choice means. Throws InputError that says why not where it was named and has no device here.
const BackendRow& backend_of(BackendChoice choice);

/// The GPUs of the backend that automatic means; none on the CPU.
std::vector<DeviceInfo> gpus();
/// What is there of each backend but the CPU, for people: "CUDA: 13.0, 2 devices".
std::string gpu_status();

const BackendKind& cpu_backend();
/// CUDA with NCCL: of the module, which is loaded where there is a driver. Programs that test it define this function
/// themselves, and get the emulated device.
const BackendKind& cuda_backend();

}  // namespace lockstep
