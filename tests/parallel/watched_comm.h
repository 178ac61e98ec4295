// A communicator that counts what goes through it, and can lose some of it. Each belongs to one rank's thread, as the
// communicator that it stands before does.
#pragma once

#include <atomic>
#include <cstring>
#include <memory>
#include <vector>

#include "parallel/comm/forwarding.h"

namespace lockstep::test {

/// Shared by a rank's communicators.
struct Traffic {
  std::atomic<size_t> sent{0};
  size_t lose = 0;  // of each message that a split communicator receives, so many bytes are zeroed
  size_t only = 0;  // unless it has another length than this, where it is given
};

class WatchedComm final : public ForwardingComm {
 public:
  WatchedComm(Communicator& inner, Traffic& traffic) : ForwardingComm(inner), traffic_(traffic) {}
  WatchedComm(std::unique_ptr<Communicator> inner, Traffic& traffic)
      : ForwardingComm(std::move(inner)), traffic_(traffic), split_(true) {}

  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<WatchedComm>(inner_.split(color, key), traffic_);
  }
  void exchange(std::span<const Message> messages, Stream& stream) override {
    for (const Message& message : messages) traffic_.sent += message.send_bytes;
    inner_.exchange(messages, stream);
    if (!split_ || traffic_.lose == 0) return;
    stream.enqueue([lose = traffic_.lose, only = traffic_.only, list = std::vector(messages.begin(), messages.end())] {
      for (const Message& message : list)
        if (only == 0 || message.receive_bytes == only)
          std::memset(message.receive, 0, std::min(lose, message.receive_bytes));
    });
  }

 private:
  Traffic& traffic_;
  bool split_ = false;
};

}  // namespace lockstep::test
