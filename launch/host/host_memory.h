// Lets standard containers live in a backend's host memory, which a device copies from without waiting. One rank's
// thread.
#pragma once

#include <memory_resource>

#include "core/backend.h"

namespace lockstep {

class HostMemory final : public std::pmr::memory_resource {
 public:
  /// `backend` must outlive the containers.
  explicit HostMemory(Backend& backend) : backend_(backend) {}

 private:
  void* do_allocate(size_t bytes, size_t) override { return backend_.allocate_host(bytes); }
  void do_deallocate(void* memory, size_t, size_t) override { backend_.release_host(static_cast<std::byte*>(memory)); }
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }

  Backend& backend_;
};

}  // namespace lockstep
