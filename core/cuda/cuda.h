// What this build and this machine have of CUDA, and the backend that computes there. Any thread may ask.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/backend.h"

namespace lockstep {

struct CudaStatus {
  std::string runtime;  // version of the runtime that is linked, "13.0"; empty where built without
  int devices = 0;
  std::string text;  // for people: runtime and devices, or why there is none
};

CudaStatus cuda_status();

struct CudaDevice {
  int index = 0;
  std::string name;   // "NVIDIA H200"
  std::string pci;    // "0000:18:00.0"
  size_t memory = 0;  // bytes
};

/// All devices; empty where there are none.
std::vector<CudaDevice> cuda_devices();

/// How device `a` reaches the memory of device `b`.
enum class CudaLink : uint8_t { self, nvlink, pcie, none };
CudaLink cuda_link(int a, int b);

/// Lets kernels on the calling thread's device reach the memory of device `peer`, where `cuda_link` is not none. Costs
/// memory on the peer.
void cuda_enable_peer(int peer);

/// Device `device`, for the calling thread, which becomes its rank's thread.
/// Throws InputError that says why where there is no such device or the build has no CUDA.
std::unique_ptr<Backend> make_cuda_backend(int device);

}  // namespace lockstep
