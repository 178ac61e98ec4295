// How threads of one process hand each other bytes: the sender posts, the receiver takes, the sender waits for that.
// Any thread may call.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "parallel/comm/communicator.h"
#include "parallel/comm/handover.h"

namespace lockstep {

/// The mailboxes between the members of one group, one for each ordered pair.
class Mailboxes {
 public:
  explicit Mailboxes(int members);

  int size() const { return static_cast<int>(members_.size()); }
  /// Posts what `me` sends, then takes what it receives in the order listed, then waits until its posts have been
  /// taken: free of deadlock whatever order the peers list their messages in. Between two members, messages match in
  /// the order listed. On return all buffers are done with. Host memory.
  /// Throws Error after `abort`, and when the bytes of a send and its receive differ.
  void exchange(int me, std::span<const Message> messages, Arrival arrival);
  /// The same on a device's stream. Returns when all that belongs together has been enqueued by the streams of both
  /// sides: it waits for the peers' calls, not for the work.
  void exchange(int me, std::span<const Message> messages, Arrival arrival, Stream& stream);
  /// Posts one message of `me` on a device's stream, and waits for nobody.
  static std::unique_ptr<Sending> send(std::shared_ptr<Mailboxes> boxes, int me, const Message& message,
                                       Stream& stream);
  /// The mailboxes of a subgroup: all its members call with the same arguments and get the same object.
  std::shared_ptr<Mailboxes> split(int sequence, int color, const std::vector<int>& members);
  /// Wakes every waiting thread of this group, of the one it was split from, and of all groups split from that.
  void abort(int me, std::string_view why) noexcept;

 private:
  struct Post {
    const std::byte* data = nullptr;
    size_t bytes = 0;
    int receiver = 0;
    Event* ready = nullptr;        // the sender's announcement, where there is one
    std::unique_ptr<Event> taken;  // the receiver's answer, where there is one
    enum { waiting, being_taken, done } state = waiting;
  };
  class Sent;
  /// Shared by a group and all its subgroups. Few threads, short sections: one mutex is enough.
  struct Fabric {
    explicit Fabric(int ranks) : wake(static_cast<size_t>(ranks)), events(static_cast<size_t>(ranks)) {}
    std::mutex mutex;
    std::vector<std::condition_variable> wake;  // one for each rank
    std::vector<EventPool> events;              // one for each rank: each has a device of its own
    std::optional<std::string> aborted;
  };
  struct Half {
    std::shared_ptr<Mailboxes> boxes;
    size_t taken = 0;
  };

  Mailboxes(std::shared_ptr<Fabric> fabric, std::vector<int> members);
  size_t rank_of(int member) const { return static_cast<size_t>(members_[static_cast<size_t>(member)]); }
  std::deque<Post*>& box(int from, int to) { return boxes_[static_cast<size_t>(from * size() + to)]; }
  std::condition_variable& wake(int member) { return fabric_->wake[rank_of(member)]; }

  void exchange(int me, std::span<const Message> messages, Arrival arrival, Handover& way);
  void take(int me, const Message& message, Arrival arrival, Handover& way, std::unique_lock<std::mutex>& lock);
  void finish(std::vector<Post>& posts, Handover& way);
  void withdraw(int me, std::vector<Post>& posts, std::unique_lock<std::mutex>& lock);

  std::shared_ptr<Fabric> fabric_;
  std::vector<int> members_;  // ranks in the fabric
  std::vector<std::deque<Post*>> boxes_;
  std::map<std::pair<int, int>, Half> splits_;  // by sequence and color, until every member has taken its share
};

}  // namespace lockstep
