#include "parallel/comm/nccl/nccl.h"

#include <algorithm>
#include <deque>
#include <vector>

#include "core/cuda/streams.h"
#include "core/error.h"
#include "parallel/comm/nccl/guard.h"

namespace lockstep {
namespace {

using cuda::native;
using nccl::Guard;

class Nccl final : public Communicator {
 public:
  /// `start` makes the communicator; the rank's place in it is asked of NCCL.
  Nccl(std::shared_ptr<nccl::Group> group, Communicator& control, std::chrono::seconds limit, const char* call,
       const Guard::Start& start)
      : guard_(std::move(group), control, limit) {
    guard_.start({call}, start);
    guard_.run({"ncclCommUserRank"}, [&](ncclComm_t comm) { return ncclCommUserRank(comm, &rank_); });
    guard_.run({"ncclCommCount"}, [&](ncclComm_t comm) { return ncclCommCount(comm, &size_); });
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string_view kind() const override { return "nccl"; }
  bool capturable() const override { return true; }

  std::unique_ptr<Communicator> split(int color, int key) override {
    if (color < 0) throw Error("rank {}: split with color {}, expected at least 0", rank_, color);
    ncclComm_t& part = parts_.emplace_back();  // NCCL may still write to it when this call has given up
    guard_.run({"ncclCommSplit"}, [&](ncclComm_t comm) { return ncclCommSplit(comm, color, key, &part, nullptr); });
    return std::make_unique<Nccl>(guard_.group(), guard_.control(), guard_.limit(), "ncclCommSplit",
                                  [&](ncclComm_t& comm) {
                                    comm = part;
                                    ncclResult_t state = ncclSuccess;
                                    const ncclResult_t asked = ncclCommGetAsyncError(comm, &state);
                                    return asked == ncclSuccess ? state : asked;
                                  });
  }

  void exchange(std::span<const Message> messages, Stream& stream) override {
    for (const Message& message : messages) check_peer(message.peer);
    copy_own(messages, stream);
    nccl::Call call{"exchange"};
    for (const Message& message : messages) {
      if (message.peer == rank_ || message.send_bytes + message.receive_bytes == 0) continue;
      call.bytes += message.send_bytes + message.receive_bytes;
      if (call.peer < 0) call.peer = message.peer;
    }
    if (call.bytes == 0) return guard_.check();
    guard_.enqueue(call, stream, [&](ncclComm_t comm) {
      ncclResult_t result = ncclGroupStart();
      if (result != ncclSuccess) return result;
      const auto keep = [&](ncclResult_t next) {
        if (result == ncclSuccess || result == ncclInProgress) result = next;
      };
      for (const Message& message : messages) {
        if (message.peer == rank_) continue;
        if (message.send_bytes)
          keep(ncclSend(message.send, message.send_bytes, ncclInt8, message.peer, comm, native(stream)));
        if (message.receive_bytes)
          keep(ncclRecv(message.receive, message.receive_bytes, ncclInt8, message.peer, comm, native(stream)));
      }
      keep(ncclGroupEnd());  // also after an error: the group must not stay open
      return result;
    });
  }

  void all_reduce(float* data, size_t n, Stream& stream) override {
    if (n == 0) return guard_.check();
    guard_.enqueue({"all_reduce", n * sizeof(float)}, stream, [&](ncclComm_t comm) {
      return ncclAllReduce(data, data, n, ncclFloat, ncclSum, comm, native(stream));
    });
  }

  void reduce_scatter(const float* in, float* out, size_t n, Stream& stream) override {
    if (n == 0) return guard_.check();
    guard_.enqueue({"reduce_scatter", n * sizeof(float) * static_cast<size_t>(size_)}, stream, [&](ncclComm_t comm) {
      return ncclReduceScatter(in, out, n, ncclFloat, ncclSum, comm, native(stream));
    });
  }

  void all_gather(const std::byte* mine, std::byte* all, size_t bytes, Stream& stream) override {
    if (bytes == 0) return guard_.check();
    guard_.enqueue({"all_gather", bytes * static_cast<size_t>(size_)}, stream,
                   [&](ncclComm_t comm) { return ncclAllGather(mine, all, bytes, ncclInt8, comm, native(stream)); });
  }

  void all_to_all(const std::byte* in, std::byte* out, size_t bytes, Stream& stream) override {
    std::vector<Message> messages;
    for (int peer = 0; peer < size_; ++peer) {
      const size_t offset = bytes * static_cast<size_t>(peer);
      messages.push_back({peer, in + offset, bytes, out + offset, bytes});
    }
    exchange(messages, stream);
  }

  void broadcast(std::byte* data, size_t bytes, int root, Stream& stream) override {
    check_peer(root);
    if (bytes == 0) return guard_.check();
    guard_.enqueue({"broadcast", bytes, root}, stream, [&](ncclComm_t comm) {
      return ncclBroadcast(data, data, bytes, ncclInt8, root, comm, native(stream));
    });
  }

  void watch(Stream& stream) override { guard_.watch(stream); }
  void check() override { guard_.check(); }
  void abort(std::string_view why) noexcept override { guard_.abort(why); }

 private:
  void check_peer(int peer) const {
    if (peer < 0 || peer >= size_) throw Error("rank {}: peer {} is not in 0..{}", rank_, peer, size_ - 1);
  }

  /// What a rank sends to itself needs no NCCL: the k-th send goes to the k-th receive.
  void copy_own(std::span<const Message> messages, Stream& stream) const {
    std::vector<Message> sends, receives;
    for (const Message& message : messages) {
      if (message.peer == rank_ && message.send_bytes) sends.push_back(message);
      if (message.peer == rank_ && message.receive_bytes) receives.push_back(message);
    }
    if (sends.size() != receives.size())
      throw Error("rank {}: {} messages to itself, but {} from itself", rank_, sends.size(), receives.size());
    for (size_t i = 0; i < sends.size(); ++i) {
      if (sends[i].send_bytes != receives[i].receive_bytes)
        throw Error("rank {} expected {} bytes from rank {}, which sent {}", rank_, receives[i].receive_bytes, rank_,
                    sends[i].send_bytes);
      if (receives[i].receive != sends[i].send) stream.copy(receives[i].receive, sends[i].send, sends[i].send_bytes);
    }
  }

  std::deque<ncclComm_t> parts_;  // that splits have made; their owners are others
  int rank_ = 0, size_ = 1;
  Guard guard_;  // goes first: it waits for NCCL
};

}  // namespace

std::unique_ptr<Communicator> make_nccl(Communicator& control) {
  const std::chrono::seconds limit = nccl::time_limit();
  const nccl::Meeting meeting = nccl::meet(control);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  return std::make_unique<Nccl>(meeting.group, control, limit, "ncclCommInitRankConfig", [&](ncclComm_t& comm) {
    return ncclCommInitRankConfig(&comm, control.size(), meeting.id, control.rank(), &config);
  });
}

}  // namespace lockstep
