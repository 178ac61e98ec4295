// The runtime and the language of kernels, as far as C++ can stand in for it.
#pragma once

#include <tuple>
#include <utility>

#include "cuda_runtime_api.h"
#include "emulator/device.h"
#include "emulator/math.h"

namespace emulator {

/// A launch: `thread(parameters)` is called once for each thread of the grid.
using Thread = void (*)(const void* parameters);
/// Parameters that queues and graphs share; `destroy` frees them.
struct Parameters {
  void* at;
  void (*destroy)(void*);
};
cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, Thread thread, Parameters parameters);

}  // namespace emulator

template <class... P, class... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(P...), A&&... arguments) {
  struct Call {
    void (*kernel)(P...);
    std::tuple<P...> parameters;
  };
  const emulator::Thread thread = [](const void* at) {
    const auto* call = static_cast<const Call*>(at);
    std::apply(call->kernel, call->parameters);
  };
  return emulator::launch(*config, reinterpret_cast<const void*>(kernel), thread,
                          {new Call{kernel, std::tuple<P...>(static_cast<P>(std::forward<A>(arguments))...)},
                           [](void* at) { delete static_cast<Call*>(at); }});
}
