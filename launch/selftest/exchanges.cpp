#include "launch/selftest/exchanges.h"

#include <fmt/format.h>

#include "core/error.h"

namespace lockstep::selftest_checks {

namespace {

/// A whole number below 1024, so that sums of thousands are exact in any order.
float number(int rank, size_t i) {
  const uint32_t mixed = (static_cast<uint32_t>(i) + 1) * 2654435761U + static_cast<uint32_t>(rank + 1) * 40503U;
  return static_cast<float>(mixed >> 22);
}

/// Floats of the device, with what they are to be.
class Buffer {
 public:
  Buffer(Backend& backend, size_t floats)
      : backend_(backend), host_(floats), memory_(backend, floats * sizeof(float)) {}

  template <class Value>
  void fill(Value value) {
    for (size_t i = 0; i < host_.size(); ++i) host_[i] = value(i);
    backend_.copy(memory_.data(), reinterpret_cast<const std::byte*>(host_.data()), memory_.bytes());
  }
  /// The place of the first float that is not as it should be; the buffer's size where there is none.
  template <class Value>
  size_t wrong(Value expected) {
    backend_.copy(reinterpret_cast<std::byte*>(host_.data()), memory_.data(), memory_.bytes());
    for (size_t i = 0; i < host_.size(); ++i)
      if (host_[i] != expected(i)) return i;
    return host_.size();
  }
  float at(size_t i) const { return host_[i]; }
  size_t size() const { return host_.size(); }
  float* floats() const { return reinterpret_cast<float*>(memory_.data()); }
  std::byte* bytes() const { return memory_.data(); }

 private:
  Backend& backend_;
  std::vector<float> host_;
  Arena memory_;
};

class Exchanges {
 public:
  Exchanges(Backend& backend, Communicator& comm, size_t n, std::string over)
      : backend_(backend), comm_(comm), stream_(backend.compute_stream()), n_(n), over_(std::move(over)) {}

  std::string run() {
    // Whoever has found a fault goes on, so that no other rank waits for it.
    std::string first;
    for (const auto part : {&Exchanges::broadcast, &Exchanges::all_gather, &Exchanges::all_to_all,
                            &Exchanges::all_reduce, &Exchanges::reduce_scatter, &Exchanges::ring}) {
      std::string fault = (this->*part)();
      if (first.empty()) first = std::move(fault);
    }
    return first;
  }

 private:
  size_t ranks() const { return static_cast<size_t>(comm_.size()); }
  int me() const { return comm_.rank(); }

  template <class Value>
  std::string expect(std::string_view call, Buffer& buffer, Value expected) {
    stream_->synchronize();
    comm_.check();
    const size_t at = buffer.wrong(expected);
    if (at == buffer.size()) return "";
    return fmt::format("{} of {} floats over {}: float {} is {}, expected {}", call, n_, over_, at, buffer.at(at),
                       expected(at));
  }
  float sum(size_t i) const {
    float all = 0;
    for (int r = 0; r < comm_.size(); ++r) all += number(r, i);
    return all;
  }

  std::string broadcast() {
    std::string first;
    for (int root = 0; root < comm_.size(); ++root) {
      Buffer data(backend_, n_);
      data.fill([&](size_t i) { return number(me(), i); });
      comm_.broadcast(data.bytes(), n_ * sizeof(float), root, *stream_);
      std::string fault =
          expect(fmt::format("broadcast from rank {}", root), data, [&](size_t i) { return number(root, i); });
      if (first.empty()) first = std::move(fault);
    }
    return first;
  }
  std::string all_gather() {
    Buffer mine(backend_, n_), all(backend_, n_ * ranks());
    mine.fill([&](size_t i) { return number(me(), i); });
    comm_.all_gather(mine.bytes(), all.bytes(), n_ * sizeof(float), *stream_);
    return expect("all_gather", all, [&](size_t i) { return number(static_cast<int>(i / n_), i % n_); });
  }
  std::string all_to_all() {
    Buffer in(backend_, n_ * ranks()), out(backend_, n_ * ranks());
    in.fill([&](size_t i) { return number(me(), i); });
    comm_.all_to_all(in.bytes(), out.bytes(), n_ * sizeof(float), *stream_);
    const size_t own = static_cast<size_t>(me()) * n_;
    return expect("all_to_all", out, [&](size_t i) { return number(static_cast<int>(i / n_), own + i % n_); });
  }
  std::string all_reduce() {
    Buffer data(backend_, n_);
    data.fill([&](size_t i) { return number(me(), i); });
    comm_.all_reduce(data.floats(), n_, *stream_);
    return expect("all_reduce", data, [&](size_t i) { return sum(i); });
  }
  std::string reduce_scatter() {
    Buffer in(backend_, n_ * ranks()), out(backend_, n_);
    in.fill([&](size_t i) { return number(me(), i); });
    comm_.reduce_scatter(in.floats(), out.floats(), n_, *stream_);
    const size_t own = static_cast<size_t>(me()) * n_;
    return expect("reduce_scatter", out, [&](size_t i) { return sum(own + i); });
  }
  /// To both neighbours at once.
  std::string ring() {
    if (ranks() == 1) return "";
    const int next = (me() + 1) % comm_.size(), last = (me() + comm_.size() - 1) % comm_.size();
    const size_t bytes = n_ * sizeof(float);
    Buffer mine(backend_, 2 * n_), other(backend_, 2 * n_);
    mine.fill([&](size_t i) { return number(me(), i); });
    const Message up{next, mine.bytes(), bytes, other.bytes(), bytes};
    const Message down{last, mine.bytes() + bytes, bytes, other.bytes() + bytes, bytes};
    if (next == last) {
      const Message both{next, mine.bytes(), 2 * bytes, other.bytes(), 2 * bytes};
      comm_.exchange({&both, 1}, *stream_);
      return expect("exchange", other, [&](size_t i) { return number(next, i); });
    }
    const Message messages[]{up, down};
    comm_.exchange(messages, *stream_);
    // The next rank sends what is for the one before it, its second half; the last one its first.
    return expect("exchange", other, [&](size_t i) { return i < n_ ? number(next, i + n_) : number(last, i - n_); });
  }

  Backend& backend_;
  Communicator& comm_;
  std::unique_ptr<Stream> stream_;
  size_t n_;
  std::string over_;
};

}  // namespace

Finding exchanges(const Subject& subject) {
  constexpr size_t sizes[]{1, 3, 1000, 65536};
  Finding finding;
  const auto test = [&](Communicator& comm, const std::string& over) {
    for (const size_t n : sizes) {
      std::string fault = Exchanges(*subject.device.backend, comm, n, over).run();
      if (finding.fault.empty()) finding.fault = std::move(fault);
    }
  };
  test(subject.comm, fmt::format("{} ranks", subject.comm.size()));
  if (subject.comm.size() > 2) {
    const auto half = subject.comm.split(subject.comm.rank() % 2, -subject.comm.rank());
    test(*half, fmt::format("{} ranks of them", half->size()));
  }
  finding.seen = fmt::format("six kinds of calls over {}, {} to {} bytes", subject.comm.kind(), sizeof(float),
                             sizes[3] * sizeof(float));
  return finding;
}

}  // namespace lockstep::selftest_checks
