// How bytes get from a sender's memory into a receiver's, where both are threads of one process: moved by the host now,
// or by the streams of devices later. The matching of the two is Mailboxes' business.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "parallel/comm/communicator.h"

namespace lockstep {

/// What a receiver does with what arrives: replace its buffer by it, or add it (floats) to it.
enum class Arrival : unsigned char { replaces, adds };

/// Events of one rank that nobody waits for any more. Any thread may call.
class EventPool {
 public:
  /// An idle event, else a new one of the stream.
  std::unique_ptr<Event> take(Stream& stream);
  void give_back(std::unique_ptr<Event> event);

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Event>> idle_;
};

/// One rank's side of an exchange; each method is called by that rank's thread.
class Handover {
 public:
  virtual ~Handover() = default;
  /// Sender: what receivers must wait for before they read. None where the bytes are there now.
  virtual std::unique_ptr<Event> announce() = 0;
  /// Receiver: `post` has the message's receive_bytes; `ready` is the sender's announcement. Returns what the sender
  /// must wait for before its buffer changes; none where that is over.
  virtual std::unique_ptr<Event> take(const Message& message, const std::byte* post, Event* ready, Arrival arrival) = 0;
  /// Sender: `taken` is what the receiver returned.
  virtual void finish(Event& taken) = 0;
};

/// Host memory, moved while the caller waits.
class HostHandover final : public Handover {
 public:
  std::unique_ptr<Event> announce() override { return nullptr; }
  std::unique_ptr<Event> take(const Message& message, const std::byte* post, Event* ready, Arrival arrival) override;
  void finish(Event&) override {}
};

/// Memory that a device reaches: the receiver's stream reads the sender's buffer, ordered by events of the two streams.
/// No host function takes part: a device may run those of different streams one after the other, so that one that waits
/// for another rank's would wait for ever.
class StreamHandover final : public Handover {
 public:
  StreamHandover(Stream& stream, EventPool& pool) : stream_(stream), pool_(pool) {}
  std::unique_ptr<Event> announce() override { return mark(); }
  std::unique_ptr<Event> take(const Message& message, const std::byte* post, Event* ready, Arrival arrival) override;
  void finish(Event& taken) override { stream_.wait(taken); }

 private:
  std::unique_ptr<Event> mark();

  Stream& stream_;
  EventPool& pool_;
};

}  // namespace lockstep
