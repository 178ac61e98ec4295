// Ordered queues of work and the events that order work between them.
// One thread enqueues to a stream; an event may be waited for by any stream of the same rank.
#pragma once

#include <functional>

namespace lockstep {

class Event {
 public:
  virtual ~Event() = default;
};

class Stream {
 public:
  virtual ~Stream() = default;
  /// Runs host work in stream order. The compute stream of the CPU runs it at once, in the calling thread.
  virtual void enqueue(std::function<void()> work) = 0;
  /// Marks the event as reached when all work enqueued so far is done.
  virtual void record(Event& event) = 0;
  /// Work enqueued from now on starts after the latest record of `event`. Rethrows what the recording stream threw.
  virtual void wait(Event& event) = 0;
  /// Blocks the host until all work is done; rethrows the first exception that work threw.
  virtual void synchronize() = 0;
};

}  // namespace lockstep
