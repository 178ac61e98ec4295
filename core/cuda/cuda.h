// What this machine has of CUDA, and the backend that computes there. Any thread may ask.
#pragma once

#include <memory>
#include <vector>

#include "core/backend.h"
#include "core/device.h"

namespace lockstep {

DeviceStatus cuda_status();

/// All devices; empty where there are none.
std::vector<DeviceInfo> cuda_devices();

/// How device `a` reaches the memory of device `b`.
DeviceLink cuda_link(int a, int b);

/// Lets kernels on the calling thread's device reach the memory of device `peer`, where `cuda_link` is not none. Costs
/// memory on the peer.
void cuda_enable_peer(int peer);

/// Device `device`, for the calling thread, which becomes its rank's thread.
/// Throws InputError that says why where there is no such device.
std::unique_ptr<Backend> make_cuda_backend(int device);

}  // namespace lockstep
