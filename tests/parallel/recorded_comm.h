// Local's ranks on devices whose calls can be recorded and replayed, as NCCL's can: each call is work on the stream,
// through host memory, and the host waits for nobody. Each is used by its rank's thread.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "core/cpu/streams.h"
#include "parallel/comm/forwarding.h"
#include "parallel/comm/staged.h"

namespace lockstep::test {

/// Over host memory; stands behind a staged communicator.
class RecordableComm final : public ForwardingComm {
 public:
  RecordableComm(Communicator& inner, std::atomic<int>& calls) : ForwardingComm(inner), calls_(calls) {}
  RecordableComm(std::unique_ptr<Communicator> inner, std::atomic<int>& calls)
      : ForwardingComm(std::move(inner)), calls_(calls) {}

  bool capturable() const override { return true; }
  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<RecordableComm>(inner_.split(color, key), calls_);
  }
  void exchange(std::span<const Message> messages, Stream& stream) override {
    later(stream,
          [this, list = std::vector(messages.begin(), messages.end())](Stream& now) { inner_.exchange(list, now); });
  }
  void all_reduce(float* data, size_t n, Stream& stream) override {
    later(stream, [=, this](Stream& now) { inner_.all_reduce(data, n, now); });
  }
  void reduce_scatter(const float* in, float* out, size_t n, Stream& stream) override {
    later(stream, [=, this](Stream& now) { inner_.reduce_scatter(in, out, n, now); });
  }
  void all_gather(const std::byte* mine, std::byte* all, size_t bytes, Stream& stream) override {
    later(stream, [=, this](Stream& now) { inner_.all_gather(mine, all, bytes, now); });
  }
  void all_to_all(const std::byte* in, std::byte* out, size_t bytes, Stream& stream) override {
    later(stream, [=, this](Stream& now) { inner_.all_to_all(in, out, bytes, now); });
  }
  void broadcast(std::byte* data, size_t bytes, int root, Stream& stream) override {
    later(stream, [=, this](Stream& now) { inner_.broadcast(data, bytes, root, now); });
  }

 private:
  template <class Call>
  void later(Stream& stream, Call call) {
    ++calls_;
    stream.enqueue([call = std::move(call)] {
      InlineStream now;
      call(now);
    });
  }

  std::atomic<int>& calls_;  // that were enqueued: replays make none
};

/// `recordable` and the staging before it.
struct RecordedRank {
  RecordedRank(Communicator& local, Backend& backend)
      : recordable(local, calls), comm(make_staged(recordable, backend)) {}
  std::atomic<int> calls{0};
  RecordableComm recordable;
  std::unique_ptr<Communicator> comm;
};

}  // namespace lockstep::test
