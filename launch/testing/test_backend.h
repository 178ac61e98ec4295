// What operator tests compute with: the CPU, or with LOCKSTEP_TEST_BACKEND=cuda the first GPU. One thread.
#pragma once

#include <cstdlib>
#include <memory>
#include <string>

#include "core/error.h"
#include "launch/backends/backends.h"

namespace lockstep::test {

inline bool on_cuda() {
  const char* name = std::getenv("LOCKSTEP_TEST_BACKEND");
  if (name && std::string(name) != "cuda" && std::string(name) != "cpu")
    throw InputError("LOCKSTEP_TEST_BACKEND is '{}', expected cpu or cuda", name);
  return name && std::string(name) == "cuda";
}

inline const BackendKind& tested() { return on_cuda() ? cuda_backend() : cpu_backend(); }

/// A backend with its kernels.
struct TestBackend {
  std::unique_ptr<Backend> backend = tested().make({});
  KernelTable kernels = tested().kernels(*backend, {}, std::make_shared<EngineChoices>());
  std::unique_ptr<Stream> stream = backend->compute_stream();
};

/// The one of this program; made at the first call. It lives until the process ends: when static objects are destroyed,
/// libraries that were loaded after it, and that its handles need, are gone.
inline TestBackend& test_backend() {
  static TestBackend& made = *new TestBackend;
  return made;
}

}  // namespace lockstep::test
