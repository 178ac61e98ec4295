// Keeps NCCL from hanging: the lock under which calls on one NCCL communicator are made, and a thread that ends it when
// it fails, when it takes too long, or when another rank has failed. Part of nccl.cpp.
#pragma once

#include <nccl.h>

#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <thread>

#include "parallel/comm/communicator.h"

namespace lockstep::nccl {

/// Why the ranks of one process must stop; shared by them, since NCCL tells nobody that a peer has given up.
class Group : public std::enable_shared_from_this<Group> {
 public:
  /// The first reason stays.
  void abort(std::string_view why) noexcept;
  std::optional<std::string> aborted() const;

 private:
  mutable std::mutex mutex_;
  std::optional<std::string> aborted_;
};

/// A call as messages name it.
struct Call {
  const char* name = "";
  size_t bytes = 0;
  int peer = -1;  // none where negative
};

/// Owns one NCCL communicator, which is made non-blocking: no call on it waits inside NCCL. Used by its rank's thread,
/// but for `abort`. On any failure all ranks are aborted, over `control` those of other processes.
class Guard {
 public:
  using Body = std::function<ncclResult_t(ncclComm_t)>;
  using Start = std::function<ncclResult_t(ncclComm_t&)>;

  Guard(std::shared_ptr<Group> group, Communicator& control, std::chrono::seconds limit);
  /// Waits until NCCL has carried out what was enqueued; while an exception is handled it aborts instead, so that a
  /// failing rank gets away, and the other ranks of the process with it.
  ~Guard();

  /// Once, first: `start` makes the communicator.
  void start(const Call& call, const Start& start, std::source_location where = std::source_location::current());
  /// Runs `body`, which makes NCCL calls, and waits until NCCL has taken what they ask for.
  void run(const Call& call, const Body& body, std::source_location where = std::source_location::current());
  /// The same for work on a stream, whose end is watched unless the stream is being recorded.
  void enqueue(const Call& call, Stream& stream, const Body& body,
               std::source_location where = std::source_location::current());
  /// Recorded calls have been replayed.
  void watch(Stream& stream);
  /// Throws Error after an abort.
  void check() const;
  void abort(std::string_view why) noexcept;

  const std::shared_ptr<Group>& group() const { return group_; }
  Communicator& control() const { return control_; }
  std::chrono::seconds limit() const { return limit_; }

 private:
  using Clock = std::chrono::steady_clock;

  void begin(const Call& call);
  void complete(ncclResult_t result, std::source_location where, std::unique_lock<std::mutex>& lock);
  void expect_end(Stream& stream);
  void look_after();
  std::string trouble();
  std::string describe() const;
  void finish() noexcept;

  const std::shared_ptr<Group> group_;
  Communicator& control_;
  const std::chrono::seconds limit_;
  const int exceptions_at_start_ = std::uncaught_exceptions();
  int device_ = 0;

  std::mutex mutex_;  // of all below
  std::condition_variable wake_;
  ncclComm_t made_ = nullptr;  // NCCL may write it again later, and so it is not comm_
  ncclComm_t comm_ = nullptr;  // none after an abort
  Call last_;
  uint64_t calls_ = 0;
  std::unique_ptr<Event> end_;  // of what was enqueued last
  bool pending_ = false;        // end_ was not reached when last looked at
  Clock::time_point since_;     // when end_ was recorded
  bool stopping_ = false;
  std::thread thread_;
};

/// What the ranks agree on before NCCL starts; they call together. Throws InputError where two have the same GPU.
struct Meeting {
  ncclUniqueId id;
  std::shared_ptr<Group> group;
};
Meeting meet(Communicator& control);

/// LOCKSTEP_COMM_TIMEOUT.
std::chrono::seconds time_limit();

}  // namespace lockstep::nccl
