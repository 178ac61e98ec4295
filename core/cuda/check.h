// Turns the status codes of CUDA calls into errors. Any thread may call.
#pragma once

#include <cuda_runtime_api.h>

#include <source_location>

namespace lockstep::cuda {

/// Throws Error that names the call, its place in the source, the current device and CUDA's reason, unless all is well:
/// check(cudaMalloc(&p, n), "cudaMalloc"). Not for destructors: these ignore the status.
void check(cudaError_t status, const char* call, std::source_location where = std::source_location::current());

/// The same message for a library with codes of its own: "cudnnCreate failed at file:line on device 0: why".
[[noreturn]] void fail(const char* call, const char* why, std::source_location where);

}  // namespace lockstep::cuda
