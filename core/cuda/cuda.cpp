#include "core/cuda/cuda.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "core/cuda/check.h"

namespace lockstep {

DeviceStatus cuda_status() {
  DeviceStatus status;
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

std::vector<DeviceInfo> cuda_devices() {
  std::vector<DeviceInfo> devices;
  const int count = cuda_status().devices;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties{};
    cuda::check(cudaGetDeviceProperties(&properties, i), "cudaGetDeviceProperties");
    devices.push_back(
        {i, properties.name,
         fmt::format("{:04x}:{:02x}:{:02x}.0", properties.pciDomainID, properties.pciBusID, properties.pciDeviceID),
         properties.totalGlobalMem});
  }
  return devices;
}

DeviceLink cuda_link(int a, int b) {
  if (a == b) return DeviceLink::self;
  int access = 0, atomics = 0;
  cuda::check(cudaDeviceCanAccessPeer(&access, a, b), "cudaDeviceCanAccessPeer");
  if (!access) return DeviceLink::none;
  // Between two cards only NVLink carries atomic operations.
  cuda::check(cudaDeviceGetP2PAttribute(&atomics, cudaDevP2PAttrNativeAtomicSupported, a, b),
              "cudaDeviceGetP2PAttribute");
  return atomics ? DeviceLink::nvlink : DeviceLink::pcie;
}

void cuda_enable_peer(int peer) {
  const cudaError_t status = cudaDeviceEnablePeerAccess(peer, 0);
  if (status == cudaErrorPeerAccessAlreadyEnabled)
    static_cast<void>(cudaGetLastError());
  else
    cuda::check(status, "cudaDeviceEnablePeerAccess");
}

}  // namespace lockstep
