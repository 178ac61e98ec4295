// What operator tests compute with: the CPU, or with LOCKSTEP_TEST_BACKEND=cuda the first GPU. One thread.
#pragma once

#include <cstdlib>
#include <memory>
#include <string>

#include "core/cuda/cuda.h"
#include "core/error.h"
#include "layers/cpu/kernels.h"
#include "layers/cuda/kernels.h"

namespace lockstep::test {

inline bool on_cuda() {
  const char* name = std::getenv("LOCKSTEP_TEST_BACKEND");
  if (name && std::string(name) != "cuda" && std::string(name) != "cpu")
    throw InputError("LOCKSTEP_TEST_BACKEND is '{}', expected cpu or cuda", name);
  return name && std::string(name) == "cuda";
}

/// A backend with its kernels.
struct TestBackend {
  std::unique_ptr<Backend> backend = on_cuda() ? make_cuda_backend(0) : make_cpu_backend(1);
  KernelTable kernels = on_cuda() ? cuda_kernels(*backend, {}, std::make_shared<EngineChoices>()) : cpu_kernels();
  std::unique_ptr<Stream> stream = backend->compute_stream();
};

/// The one of this program; made at the first call. It lives until the process ends: when static objects are destroyed,
/// libraries that were loaded after it, and that its handles need, are gone.
inline TestBackend& test_backend() {
  static TestBackend& made = *new TestBackend;
  return made;
}

}  // namespace lockstep::test
