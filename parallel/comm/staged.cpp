#include "parallel/comm/staged.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace lockstep {
namespace {

class Staged final : public Communicator {
 public:
  Staged(Communicator& inner, Backend& backend)
      : inner_(inner), backend_(backend), kind_(fmt::format("{}, staged", inner.kind())) {}
  Staged(std::unique_ptr<Communicator> inner, Backend& backend) : Staged(*inner, backend) { own_ = std::move(inner); }

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  std::string_view kind() const override { return kind_; }
  bool capturable() const override { return inner_.capturable(); }

  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<Staged>(inner_.split(color, key), backend_);
  }

  void exchange(std::span<const Message> messages, Stream& stream) override {
    if (!stream.on_device()) return inner_.exchange(messages, stream);
    size_t bytes = 0;
    for (const Message& message : messages) bytes += padded(message.send_bytes) + padded(message.receive_bytes);
    std::byte* at = staging(stream, bytes);
    std::vector<Message> staged(messages.begin(), messages.end());
    for (Message& message : staged) {
      stream.copy(at, message.send, message.send_bytes);
      message.send = at;
      at += padded(message.send_bytes);
      message.receive = at;
      at += padded(message.receive_bytes);
    }
    inner_.exchange(staged, stream);
    for (size_t i = 0; i < staged.size(); ++i)
      stream.copy(messages[i].receive, staged[i].receive, staged[i].receive_bytes);
  }

  void all_reduce(float* data, size_t n, Stream& stream) override {
    if (!stream.on_device()) return inner_.all_reduce(data, n, stream);
    std::byte* host = staging(stream, n * sizeof(float));
    stream.copy(host, reinterpret_cast<const std::byte*>(data), n * sizeof(float));
    inner_.all_reduce(reinterpret_cast<float*>(host), n, stream);
    stream.copy(reinterpret_cast<std::byte*>(data), host, n * sizeof(float));
  }

  void reduce_scatter(const float* in, float* out, size_t n, Stream& stream) override {
    if (!stream.on_device()) return inner_.reduce_scatter(in, out, n, stream);
    const size_t all = n * sizeof(float) * static_cast<size_t>(size());
    std::byte* host = staging(stream, padded(all) + n * sizeof(float));
    std::byte* sum = host + padded(all);
    stream.copy(host, reinterpret_cast<const std::byte*>(in), all);
    inner_.reduce_scatter(reinterpret_cast<const float*>(host), reinterpret_cast<float*>(sum), n, stream);
    stream.copy(reinterpret_cast<std::byte*>(out), sum, n * sizeof(float));
  }

  void all_gather(const std::byte* mine, std::byte* all, size_t bytes, Stream& stream) override {
    if (!stream.on_device()) return inner_.all_gather(mine, all, bytes, stream);
    std::byte* host = staging(stream, bytes * static_cast<size_t>(size()));
    std::byte* own = host + bytes * static_cast<size_t>(rank());
    stream.copy(own, mine, bytes);
    inner_.all_gather(own, host, bytes, stream);
    stream.copy(all, host, bytes * static_cast<size_t>(size()));
  }

  void all_to_all(const std::byte* in, std::byte* out, size_t bytes, Stream& stream) override {
    if (!stream.on_device()) return inner_.all_to_all(in, out, bytes, stream);
    const size_t all = bytes * static_cast<size_t>(size());
    std::byte* host = staging(stream, padded(all) + all);
    stream.copy(host, in, all);
    inner_.all_to_all(host, host + padded(all), bytes, stream);
    stream.copy(out, host + padded(all), all);
  }

  void broadcast(std::byte* data, size_t bytes, int root, Stream& stream) override {
    if (!stream.on_device()) return inner_.broadcast(data, bytes, root, stream);
    std::byte* host = staging(stream, bytes);
    if (rank() == root) stream.copy(host, data, bytes);
    inner_.broadcast(host, bytes, root, stream);
    if (rank() != root) stream.copy(data, host, bytes);
  }

  void watch(Stream& stream) override { inner_.watch(stream); }
  void check() override { inner_.check(); }
  void abort(std::string_view why) noexcept override { inner_.abort(why); }

 private:
  /// So that each part starts where a cache line does.
  static size_t padded(size_t bytes) { return (bytes + 63) / 64 * 64; }

  /// Host memory for one call on the stream. Calls on one stream follow each other, recorded or not, and so use the
  /// same. What was too small stays: work under way, and graphs, still use it; as sizes double, all of it is no more
  /// than the last again.
  std::byte* staging(Stream& stream, size_t bytes) {
    std::vector<Arena>& arenas = staging_[&stream];
    if (arenas.empty() || arenas.back().bytes() < bytes) {
      const size_t least = arenas.empty() ? size_t{64} << 10 : 2 * arenas.back().bytes();
      arenas.emplace_back(backend_, std::max(bytes, least), Memory::host);
    }
    return arenas.back().data();
  }

  Communicator& inner_;
  Backend& backend_;
  std::string kind_;
  std::unique_ptr<Communicator> own_;  // of a split: inner_
  std::map<const Stream*, std::vector<Arena>> staging_;
};

}  // namespace

std::unique_ptr<Communicator> make_staged(Communicator& inner, Backend& backend) {
  return std::make_unique<Staged>(inner, backend);
}

}  // namespace lockstep
