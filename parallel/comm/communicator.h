// How ranks move data. Every call enqueues on the stream and returns; the host does not wait, but where local.h and
// nccl.h say so. All members of a communicator make the same calls in the same order. One thread per rank uses a
// communicator.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "core/stream.h"

namespace lockstep {

/// One pairwise transfer: `send_bytes` go to `peer`, `receive_bytes` come from it. Either may be 0.
struct Message {
  int peer = 0;
  const std::byte* send = nullptr;
  size_t send_bytes = 0;
  std::byte* receive = nullptr;
  size_t receive_bytes = 0;
};

/// A message that was sent and may not have been taken. Destroyed before that, it is withdrawn.
class Sending {
 public:
  virtual ~Sending() = default;
  /// Waits for the peer's matching call; the stream waits until the buffer has been read.
  virtual void finish(Stream& stream) = 0;
};

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// "local", "mpi", "mpi, staged", "nccl"
  virtual std::string_view kind() const = 0;
  /// Whether calls on a device's stream may be recorded and replayed (Backend::capture).
  virtual bool capturable() const = 0;
  /// Members with the same color form a new communicator, ordered by key, then by rank. Blocks until all have called.
  virtual std::unique_ptr<Communicator> split(int color, int key) = 0;

  /// Carries out all messages; the peers call exchange with the matching ones. Buffers must stay until the stream is
  /// past it. Moves bytes, adds nothing.
  virtual void exchange(std::span<const Message> messages, Stream& stream) = 0;
  /// As exchange of one message that is only sent, but never waits for the peer: where exchange would, what it returns
  /// is to be finished before the buffer changes; elsewhere it returns none.
  virtual std::unique_ptr<Sending> send(const Message& message, Stream& stream) {
    exchange({&message, 1}, stream);
    return nullptr;
  }
  /// The sum over all ranks, in place, in the library's own order of additions: for `--numerics fast`.
  virtual void all_reduce(float* data, size_t n, Stream& stream) = 0;
  /// `out` gets this rank's n floats of the sum; `in` holds size()*n.
  virtual void reduce_scatter(const float* in, float* out, size_t n, Stream& stream) = 0;
  /// `all` gets size()*bytes, in rank order.
  virtual void all_gather(const std::byte* mine, std::byte* all, size_t bytes, Stream& stream) = 0;
  /// Block r of `in` goes to rank r; block r of `out` comes from it. Blocks of `bytes`.
  virtual void all_to_all(const std::byte* in, std::byte* out, size_t bytes, Stream& stream) = 0;
  virtual void broadcast(std::byte* data, size_t bytes, int root, Stream& stream) = 0;

  /// Calls that were recorded have just been replayed on `stream`: limits of time for them start here.
  virtual void watch(Stream& stream) { static_cast<void>(stream); }
  /// Throws Error where earlier calls have failed without their stream saying so, as those on a device can: results
  /// count when the stream was synchronised and this returns.
  virtual void check() {}

  /// Makes every pending and later call on every rank fail with Error("rank R: why") within seconds; with MPI it ends
  /// the processes. Never throws; may be called from any thread.
  virtual void abort(std::string_view why) noexcept = 0;
};

}  // namespace lockstep
