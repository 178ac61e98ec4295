// The two kinds of streams of the CPU: one that runs work at once in the caller, one that runs it on a thread of its
// own. Each is enqueued to by one thread; events may be waited for from either kind.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#include "core/stream.h"

namespace lockstep {

/// What a worker has been given and has done, counted in pieces of work; shared with events, which may outlive it.
class WorkerQueue {
 public:
  /// Takes work unless an earlier piece has thrown.
  void push(std::function<void()> work);
  /// How many pieces have been pushed.
  uint64_t pushed();
  /// How many are done.
  uint64_t done();
  /// Returns when the first `count` pieces are done; rethrows when one of them threw. Work that has not begun is run
  /// here, in its order: waking a sleeping thread would take longer than many a piece.
  void wait_for(uint64_t count);
  /// Runs work until `stop`. The worker's main function.
  void work();
  /// Lets `work` return when the queue is empty; with `discard`, drops what has not begun.
  void stop(bool discard);

 private:
  bool can_begin() const { return !running_ && !queue_.empty(); }
  void run_next(std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;
  bool running_ = false;  // a piece, in whichever thread
  std::condition_variable pushed_, finished_;
  std::deque<std::function<void()>> queue_;
  uint64_t count_pushed_ = 0, count_done_ = 0;
  uint64_t failed_ = 0;  // the piece (counted from 1) that threw; 0 while none has
  std::exception_ptr error_;
  bool stopping_ = false;
};

/// A point in a worker's queue. Reached where there is no queue.
struct CpuEvent final : Event {
  void synchronize() override {
    if (queue) queue->wait_for(count);
  }
  bool reached() override { return !queue || queue->done() >= count; }

  std::shared_ptr<WorkerQueue> queue;
  uint64_t count = 0;
};

/// What both kinds share: copies and sums are host work like any other.
class CpuStream : public Stream {
 public:
  void copy(std::byte* to, const std::byte* from, size_t bytes) override;
  void accumulate(float* to, const float* from, size_t n) override;
  void copy_rows(std::byte* to, size_t to_pitch, const std::byte* from, size_t from_pitch, size_t bytes,
                 size_t rows) override;
  /// f32 only, as all of the CPU's kernels.
  void accumulate_rows(DType dtype, std::byte* to, size_t to_pitch, const std::byte* from, size_t n,
                       size_t rows) override;
  void zero(std::byte* to, size_t bytes) override;
  void gather(std::byte* to, const std::byte* from, std::span<const int32_t> rows, size_t row_bytes) override;
  std::unique_ptr<Event> event() override { return std::make_unique<CpuEvent>(); }
};

/// Runs work at once, in the calling thread; what it throws reaches the caller of `enqueue`.
class InlineStream final : public CpuStream {
 public:
  void enqueue(std::function<void()> work) override { work(); }
  void record(Event& event) override;
  /// Blocks the caller.
  void wait(Event& event) override;
  void synchronize() override {}
};

/// Runs work in order beside the caller, on a thread that sleeps while there is none, or in a thread that waits for it.
/// Once a piece of work has thrown, the stream stays failed: later work is dropped, and every wait after that piece
/// rethrows.
class WorkerStream final : public CpuStream {
 public:
  WorkerStream();
  /// Runs what is queued, unless an exception is being handled: then it drops what has not begun, so that a failing
  /// rank gets to the point where it releases the others.
  ~WorkerStream() override;
  void enqueue(std::function<void()> work) override { queue_->push(std::move(work)); }
  void record(Event& event) override;
  void wait(Event& event) override;
  void synchronize() override;

 private:
  std::shared_ptr<WorkerQueue> queue_ = std::make_shared<WorkerQueue>();
  int exceptions_at_start_ = std::uncaught_exceptions();
  std::thread thread_;
};

}  // namespace lockstep
