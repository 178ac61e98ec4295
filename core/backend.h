// A device that can hold tensors and run kernels. One Backend belongs to one rank and is used by that rank's thread.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "core/stream.h"

namespace lockstep {

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string name() const = 0;
  /// The stream that kernels run on.
  virtual std::unique_ptr<Stream> compute_stream() = 0;
  /// A stream that runs beside the compute stream, for communication.
  virtual std::unique_ptr<Stream> side_stream() = 0;
  virtual std::unique_ptr<Event> event() = 0;

  /// Zeroed memory, aligned to 64 bytes; only the planner's arenas call this. Throws Error with the size when refused.
  virtual std::byte* allocate(size_t bytes) = 0;
  virtual void release(std::byte* memory) noexcept = 0;

  /// to[i] += from[i], n floats: the one addition that reductions use.
  virtual void accumulate(float* to, const float* from, size_t n, Stream& stream) = 0;
  /// Copies between host and device memory, or inside either.
  virtual void copy(std::byte* to, const std::byte* from, size_t bytes, Stream& stream) = 0;
};

/// Owns memory of a backend.
class Arena {
 public:
  Arena() = default;
  Arena(Backend& backend, size_t bytes)
      : backend_(&backend), data_(bytes ? backend.allocate(bytes) : nullptr), bytes_(bytes) {}
  Arena(Arena&& other) noexcept { swap(other); }
  Arena& operator=(Arena&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Arena() {
    if (data_) backend_->release(data_);
  }

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void swap(Arena& other) noexcept {
    std::swap(backend_, other.backend_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }

  Backend* backend_ = nullptr;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

/// The CPU, with `threads` compute threads (OpenMP) for kernels run from the calling thread. Also sets flush-to-zero on
/// the calling thread and its OpenMP workers, so that every rank computes in one floating-point environment.
std::unique_ptr<Backend> make_cpu_backend(int threads);

}  // namespace lockstep
