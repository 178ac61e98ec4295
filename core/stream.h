// Ordered queues of work and the events that order work between them.
// One thread enqueues to a stream; an event may be waited for by any stream of the same process and device kind.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "core/dtype.h"

namespace lockstep {

class Event {
 public:
  virtual ~Event() = default;
  /// Blocks the host until the work before the latest record is done; at once where there was no record.
  virtual void synchronize() = 0;
  /// Whether `synchronize` would return at once.
  virtual bool reached() = 0;
};

class Stream {
 public:
  virtual ~Stream() = default;
  /// Whether work runs on a device beside the host. Buffers are then device memory (or the pinned host memory of
  /// Backend::allocate_host), and the calls below return before the work is done.
  virtual bool on_device() const { return false; }
  /// Runs host work in stream order. The compute stream of the CPU runs it at once, in the calling thread. On a
  /// device's stream the work must not call the device.
  virtual void enqueue(std::function<void()> work) = 0;
  /// Copies between host and device memory, or inside either.
  virtual void copy(std::byte* to, const std::byte* from, size_t bytes) = 0;
  /// to[i] += from[i], n floats: the one addition that reductions use.
  virtual void accumulate(float* to, const float* from, size_t n) = 0;
  /// Copies `rows` rows of `bytes`, which lie `to_pitch` and `from_pitch` bytes apart.
  virtual void copy_rows(std::byte* to, size_t to_pitch, const std::byte* from, size_t from_pitch, size_t bytes,
                         size_t rows) = 0;
  /// Adds `rows` dense rows of n elements each to rows that lie `to_pitch` bytes apart.
  virtual void accumulate_rows(DType dtype, std::byte* to, size_t to_pitch, const std::byte* from, size_t n,
                               size_t rows) = 0;
  virtual void zero(std::byte* to, size_t bytes) = 0;
  /// Copies rows of `row_bytes` (a multiple of 4): row i of `to` is row rows[i] of `from`, zeros where that is
  /// negative. On a device all three are device memory.
  virtual void gather(std::byte* to, const std::byte* from, std::span<const int32_t> rows, size_t row_bytes) = 0;

  virtual std::unique_ptr<Event> event() = 0;
  /// Marks the event as reached when all work enqueued so far is done.
  virtual void record(Event& event) = 0;
  /// Work enqueued from now on starts after the latest record of `event`. Rethrows what the recording stream threw.
  virtual void wait(Event& event) = 0;
  /// Blocks the host until all work is done; rethrows the first exception that work threw.
  virtual void synchronize() = 0;
};

}  // namespace lockstep
