// A device that can hold tensors and run kernels. One Backend belongs to one rank and is used by that rank's thread.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/stream.h"

namespace lockstep {

class Backend {
 public:
  virtual ~Backend() = default;

  /// "cpu", or the device: "cuda 0 (NVIDIA H200)".
  virtual std::string name() const = 0;
  /// The stream that kernels run on.
  virtual std::unique_ptr<Stream> compute_stream() = 0;
  /// A stream that runs beside the compute stream, for communication and for feeding.
  virtual std::unique_ptr<Stream> side_stream() = 0;

  /// Zeroed memory, aligned to 64 bytes (a device's to 256); only arenas call this. Throws Error with the size when
  /// refused.
  virtual std::byte* allocate(size_t bytes) = 0;
  virtual void release(std::byte* memory) noexcept = 0;
  /// Zeroed host memory that streams copy from and to without waiting: pinned, where there is a device.
  virtual std::byte* allocate_host(size_t bytes) { return allocate(bytes); }
  virtual void release_host(std::byte* memory) noexcept { release(memory); }
  /// Bytes that `allocate` could still give; none where the backend does not know, as on the CPU.
  virtual std::optional<size_t> free_memory() const { return std::nullopt; }

  /// Copies now, between host and device or inside either: for set-up and results, not for steps. Waits for the copy,
  /// not for what streams are doing.
  virtual void copy(std::byte* to, const std::byte* from, size_t bytes) = 0;
  /// Returns a function that enqueues to `stream` the work that `body` enqueues. On a device the work is recorded once
  /// (`body` runs now, but its work does not), and replayed at each call with the same addresses; work on other streams
  /// is part of it where these wait for an event of `stream` first, and `stream` for one of theirs at the end.
  virtual std::function<void()> capture(Stream& stream, std::function<void()> body) {
    static_cast<void>(stream);
    return body;
  }
};

/// Whose memory an Arena holds.
enum class Memory : unsigned char { device, host };

/// Owns memory of a backend.
class Arena {
 public:
  Arena() = default;
  Arena(Backend& backend, size_t bytes, Memory kind = Memory::device) : backend_(&backend), kind_(kind), bytes_(bytes) {
    if (bytes) data_ = kind == Memory::device ? backend.allocate(bytes) : backend.allocate_host(bytes);
  }
  Arena(Arena&& other) noexcept { swap(other); }
  Arena& operator=(Arena&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Arena() {
    if (data_) kind_ == Memory::device ? backend_->release(data_) : backend_->release_host(data_);
  }

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void swap(Arena& other) noexcept {
    std::swap(backend_, other.backend_);
    std::swap(kind_, other.kind_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }

  Backend* backend_ = nullptr;
  Memory kind_ = Memory::device;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

/// The CPU, with `threads` compute threads (OpenMP) for kernels run from the calling thread. Also sets flush-to-zero on
/// the calling thread and its OpenMP workers, so that every rank computes in one floating-point environment.
std::unique_ptr<Backend> make_cpu_backend(int threads);

}  // namespace lockstep
