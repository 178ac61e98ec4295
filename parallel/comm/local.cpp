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
  // A rank's host waits for the other ranks' at every call, which a replay would not do.
  bool capturable() const override { return size() == 1; }

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
    pass({{{messages.begin(), messages.end()}, Arrival::replaces}}, stream);
  }

  std::unique_ptr<Sending> send(const Message& message, Stream& stream) override {
    check_peer(message.peer);
    if (stream.on_device()) return Mailboxes::send(boxes_, rank_, message, stream);
    exchange({&message, 1}, stream);
    return nullptr;
  }

  void all_reduce(float* data, size_t n, Stream& stream) override {
    // Chunk r is summed by rank r, which reads it where the others have it. Cut where a cache line ends.
    constexpr size_t line = 16;
    const size_t lines = (n + line - 1) / line, ranks = static_cast<size_t>(size());
    const size_t chunk = (lines + ranks - 1) / ranks * line;
    const auto begin = [&](int rank) { return std::min(n, chunk * static_cast<size_t>(rank)); };
    const auto bytes = [&](int rank) { return (begin(rank + 1) - begin(rank)) * sizeof(float); };
    const auto at = [&](int rank) { return reinterpret_cast<std::byte*>(data + begin(rank)); };
    std::vector<Message> adds, gathers;
    for (int peer : others()) {
      adds.push_back({peer, at(peer), bytes(peer), at(rank_), bytes(rank_)});
      gathers.push_back({peer, at(rank_), bytes(rank_), at(peer), bytes(peer)});
    }
    pass({{std::move(adds), Arrival::adds}, {std::move(gathers), Arrival::replaces}}, stream);
  }

  void reduce_scatter(const float* in, float* out, size_t n, Stream& stream) override {
    const auto block = [&](int rank) { return reinterpret_cast<const std::byte*>(in + n * static_cast<size_t>(rank)); };
    auto* sum = reinterpret_cast<std::byte*>(out);
    const size_t bytes = n * sizeof(float);
    if (sum != block(rank_)) stream.copy(sum, block(rank_), bytes);
    std::vector<Message> adds;
    for (int peer : others()) adds.push_back({peer, block(peer), bytes, sum, bytes});
    pass({{std::move(adds), Arrival::adds}}, stream);
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
  /// The other ranks in the order in which their terms are added: the one before this, the one before that, …
  std::vector<int> others() const {
    std::vector<int> ranks;
    for (int step = 1; step < size(); ++step) ranks.push_back((rank_ - step + size()) % size());
    return ranks;
  }

  void check_peer(int peer) const {
    if (peer < 0 || peer >= size()) throw Error("rank {}: peer {} is not in 0..{}", rank_, peer, size() - 1);
  }

  struct Round {
    std::vector<Message> messages;
    Arrival arrival;
  };
  void pass(std::vector<Round> rounds, Stream& stream) {
    if (stream.on_device()) {
      for (const Round& round : rounds) boxes_->exchange(rank_, round.messages, round.arrival, stream);
      return;
    }
    stream.enqueue([boxes = boxes_, me = rank_, list = std::move(rounds)] {
      for (const Round& round : list) boxes->exchange(me, round.messages, round.arrival);
    });
  }

  std::shared_ptr<Mailboxes> boxes_;
  int rank_;
  int splits_ = 0;
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
