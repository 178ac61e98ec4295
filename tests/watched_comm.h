// A communicator that counts what goes through it, and can lose some of it. Each belongs to one rank's thread, as the
// communicator that it stands before does.
#pragma once

#include <atomic>
#include <cstring>
#include <memory>
#include <vector>

#include "parallel/comm/communicator.h"

namespace lockstep::test {

/// Shared by a rank's communicators.
struct Traffic {
  std::atomic<size_t> sent{0};
  size_t lose = 0;  // of each message that a split communicator receives, so many bytes are zeroed
  size_t only = 0;  // unless it has another length than this, where it is given
};

class WatchedComm final : public Communicator {
 public:
  WatchedComm(Communicator& inner, Traffic& traffic) : inner_(inner), traffic_(traffic) {}
  WatchedComm(std::unique_ptr<Communicator> inner, Traffic& traffic)
      : owned_(std::move(inner)), inner_(*owned_), traffic_(traffic) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  std::string_view kind() const override { return inner_.kind(); }
  bool capturable() const override { return inner_.capturable(); }
  bool host_waits() const override { return inner_.host_waits(); }
  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<WatchedComm>(inner_.split(color, key), traffic_);
  }
  void exchange(std::span<const Message> messages, Stream& stream) override {
    for (const Message& message : messages) traffic_.sent += message.send_bytes;
    inner_.exchange(messages, stream);
    if (!owned_ || traffic_.lose == 0) return;
    stream.enqueue([lose = traffic_.lose, only = traffic_.only, list = std::vector(messages.begin(), messages.end())] {
      for (const Message& message : list)
        if (only == 0 || message.receive_bytes == only)
          std::memset(message.receive, 0, std::min(lose, message.receive_bytes));
    });
  }
  void all_reduce(float* data, size_t n, Stream& stream) override { inner_.all_reduce(data, n, stream); }
  void reduce_scatter(const float* in, float* out, size_t n, Stream& stream) override {
    inner_.reduce_scatter(in, out, n, stream);
  }
  void all_gather(const std::byte* mine, std::byte* all, size_t bytes, Stream& stream) override {
    inner_.all_gather(mine, all, bytes, stream);
  }
  void all_to_all(const std::byte* in, std::byte* out, size_t bytes, Stream& stream) override {
    inner_.all_to_all(in, out, bytes, stream);
  }
  void broadcast(std::byte* data, size_t bytes, int root, Stream& stream) override {
    inner_.broadcast(data, bytes, root, stream);
  }
  void abort(std::string_view why) noexcept override { inner_.abort(why); }

 private:
  std::unique_ptr<Communicator> owned_;
  Communicator& inner_;
  Traffic& traffic_;
};

}  // namespace lockstep::test
