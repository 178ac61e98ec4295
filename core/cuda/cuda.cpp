#include "core/cuda/cuda.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

namespace lockstep {

CudaStatus cuda_status() {
  CudaStatus status;
  int version = 0;
  cudaRuntimeGetVersion(&version);  // a constant of the library that is linked
  status.runtime = fmt::format("{}.{}", version / 1000, version % 1000 / 10);
  const cudaError_t error = cudaGetDeviceCount(&status.devices);
  if (error != cudaSuccess) status.devices = 0;
  status.text = error == cudaSuccess
                    ? fmt::format("{}, {} device{}", status.runtime, status.devices, status.devices == 1 ? "" : "s")
                    : fmt::format("{}, no device: {}", status.runtime, cudaGetErrorString(error));
  return status;
}

}  // namespace lockstep
