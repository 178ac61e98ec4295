#include "parallel/comm/local.h"

#include <algorithm>
#include <tuple>

#include "core/cpu/streams.h"
#include "core/error.h"
#include "parallel/comm/mailbox.h"

namespace lockstep {
namespace {

class Local final : public Communicator {
 public:
  Local(std::shared_ptr<Mailboxes> boxes, int rank) : boxes_(std::move(boxes)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return boxes_->size(); }
  std::string_view kind() const override { return "local"; }

  std::unique_ptr<Communicator> split(int color, int key) override {
    if (color < 0) throw Error("rank {}: split with color {}, expected at least 0", rank_, color);
    struct Choice {
      int color, key, rank;
    };
    const Choice mine{color, key, rank_};
    std::vector<Choice> all(static_cast<size_t>(size()));
    InlineStream now;
    all_gather(reinterpret_cast<const std::byte*>(&mine), reinterpret_cast<std::byte*>(all.data()), sizeof mine, now);
    std::erase_if(all, [&](const Choice& other) { return other.color != color; });
    std::ranges::sort(all, {}, [](const Choice& choice) { return std::tuple(choice.key, choice.rank); });
    std::vector<int> members;
    for (const Choice& choice : all) members.push_back(choice.rank);
    const auto me = std::ranges::find(members, rank_) - members.begin();
    return std::make_unique<Local>(boxes_->split(splits_++, color, members), static_cast<int>(me));
  }

  void exchange(std::span<const Message> messages, Stream& stream) override {
    for (const Message& message : messages) check_peer(message.peer);
    stream.enqueue([boxes = boxes_, me = rank_, list = std::vector(messages.begin(), messages.end())] {
      boxes->exchange(me, list);
    });
  }

  void all_reduce(float* data, size_t n, Stream& stream) override {
    stream.enqueue([this, data, n] {
      const auto start = [&](int chunk) { return n * static_cast<size_t>(wrap(chunk)) / static_cast<size_t>(size()); };
      const auto length = [&](int chunk) {
        return n * static_cast<size_t>(wrap(chunk) + 1) / static_cast<size_t>(size()) - start(chunk);
      };
      scratch_.resize(std::max(scratch_.size(), n / static_cast<size_t>(size()) + 1));
      // Reduce-scatter: chunk r - 1 - step leaves, chunk r - 2 - step arrives with the sum so far.
      for (int step = 0; step + 1 < size(); ++step) {
        const int out = rank_ - 1 - step, in = out - 1;
        pass_on(data + start(out), length(out), scratch_.data(), length(in));
        for (size_t i = 0; i < length(in); ++i) data[start(in) + i] += scratch_[i];
      }
      // All-gather: now chunk r is complete here and travels around.
      for (int step = 0; step + 1 < size(); ++step) {
        const int out = rank_ - step, in = out - 1;
        pass_on(data + start(out), length(out), data + start(in), length(in));
      }
    });
  }

  void reduce_scatter(const float* in, float* out, size_t n, Stream& stream) override {
    stream.enqueue([this, in, out, n] {
      const auto block = [&](int index) { return in + n * static_cast<size_t>(wrap(index)); };
      scratch_.resize(std::max(scratch_.size(), n));
      std::copy_n(block(rank_ - 1), n, out);
      for (int step = 0; step + 1 < size(); ++step) {
        pass_on(out, n, scratch_.data(), n);
        const float* mine = block(rank_ - 2 - step);
        for (size_t i = 0; i < n; ++i) out[i] = scratch_[i] + mine[i];
      }
    });
  }

  void all_gather(const std::byte* mine, std::byte* all, size_t bytes, Stream& stream) override {
    std::vector<Message> messages;
    for (int peer = 0; peer < size(); ++peer) {
      messages.push_back({peer, mine, bytes, all + bytes * static_cast<size_t>(peer), bytes});
    }
    exchange(messages, stream);
  }

  void all_to_all(const std::byte* in, std::byte* out, size_t bytes, Stream& stream) override {
    std::vector<Message> messages;
    for (int peer = 0; peer < size(); ++peer) {
      const size_t offset = bytes * static_cast<size_t>(peer);
      messages.push_back({peer, in + offset, bytes, out + offset, bytes});
    }
    exchange(messages, stream);
  }

  void broadcast(std::byte* data, size_t bytes, int root, Stream& stream) override {
    check_peer(root);
    std::vector<Message> messages;
    if (rank_ != root) messages.push_back({.peer = root, .receive = data, .receive_bytes = bytes});
    for (int peer = 0; rank_ == root && peer < size(); ++peer) {
      if (peer != root) messages.push_back({.peer = peer, .send = data, .send_bytes = bytes});
    }
    exchange(messages, stream);
  }

  void abort(std::string_view why) noexcept override { boxes_->abort(rank_, why); }

 private:
  int wrap(int rank) const { return (rank % size() + size()) % size(); }

  void check_peer(int peer) const {
    if (peer < 0 || peer >= size()) throw Error("rank {}: peer {} is not in 0..{}", rank_, peer, size() - 1);
  }

  /// One step around the ring: to the next rank, from the one before.
  void pass_on(const float* send, size_t send_n, float* receive, size_t receive_n) {
    const Message messages[] = {{.peer = wrap(rank_ + 1),
                                 .send = reinterpret_cast<const std::byte*>(send),
                                 .send_bytes = send_n * sizeof(float)},
                                {.peer = wrap(rank_ - 1),
                                 .receive = reinterpret_cast<std::byte*>(receive),
                                 .receive_bytes = receive_n * sizeof(float)}};
    boxes_->exchange(rank_, messages);
  }

  std::shared_ptr<Mailboxes> boxes_;
  int rank_;
  int splits_ = 0;
  std::vector<float> scratch_;  // touched by work on the stream only
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_local(int n) {
  if (n < 1) throw Error("{} local ranks, expected at least 1", n);
  auto boxes = std::make_shared<Mailboxes>(n);
  std::vector<std::unique_ptr<Communicator>> ranks;
  for (int rank = 0; rank < n; ++rank) ranks.push_back(std::make_unique<Local>(boxes, rank));
  return ranks;
}

}  // namespace lockstep
