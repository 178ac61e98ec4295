#include "parallel/reduction/tree_reduce.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>
#include <span>

#include "core/error.h"

namespace lockstep {
namespace {

// Up to here a vector travels whole: half the messages, and they cost more than the bytes. Between two ranks the bytes
// are as many either way, and only the additions double.
constexpr size_t small_floats = 2048;
constexpr size_t small_floats_of_two = 128 << 10;

size_t small(int ranks) { return ranks == 2 ? small_floats_of_two : small_floats; }
// Ranges are cut where a cache line ends.
constexpr size_t line = 16;

struct Range {
  size_t begin = 0, end = 0;
  size_t size() const { return end - begin; }
};

struct Halving {
  int peer;
  Range kept, given;
};

/// The first half of the steps: at each, half of the rank's range goes to a peer. The other half mirrors them.
struct Halvings {
  Halvings(int ranks, int rank, size_t n) {
    Range range{0, n};
    for (int distance = 1; distance < ranks; distance *= 2) {
      const size_t middle = std::min(range.end, range.begin + (range.size() / 2 + line - 1) / line * line);
      Halving step{rank ^ distance, {range.begin, middle}, {middle, range.end}};
      if (rank & distance) std::swap(step.kept, step.given);
      range = step.kept;
      steps[depth++] = step;
    }
  }
  std::span<const Halving> all() const { return {steps.data(), depth}; }

  std::array<Halving, 32> steps;
  size_t depth = 0;
};

/// Ranks beyond the largest power of two, and who stands in for each.
struct Fold {
  Fold(int ranks, int rank) : whole(static_cast<int>(std::bit_floor(static_cast<unsigned>(ranks)))) {
    beyond = rank >= whole;
    if (beyond)
      peer = rank - whole;
    else if (rank + whole < ranks)
      peer = rank + whole;
  }
  int whole, peer = -1;
  bool beyond = false;
};

}  // namespace

TreeAllReduce::TreeAllReduce(Communicator& communicator, Backend& backend, size_t max_n)
    : communicator_(communicator), max_n_(max_n) {
  const int ranks = communicator.size();
  if (!std::has_single_bit(static_cast<unsigned>(ranks))) {
    const auto below = static_cast<int>(std::bit_floor(static_cast<unsigned>(ranks)));
    throw InputError("{} ranks, expected a power of two for the reproducible sum: {} or {} fit", ranks, below,
                     2 * below);
  }
  if (ranks > 1) scratch_ = Arena(backend, std::max(std::min(max_n, small(ranks)), max_n / 2 + line) * sizeof(float));
}

void TreeAllReduce::run(float* data, size_t n, Stream& stream) {
  if (n > max_n_) throw Error("tree reduction of {} floats, made for at most {}", n, max_n_);
  if (communicator_.size() == 1 || n == 0) return;
  if (n <= small(communicator_.size())) {
    double_up(data, n, stream);
  } else {
    scatter(data, n, stream);
    gather(communicator_, data, n, stream);
  }
}

void TreeAllReduce::double_up(float* data, size_t n, Stream& stream) {
  combine_whole(communicator_, data, n, reinterpret_cast<float*>(scratch_.data()), addition(n), stream);
}

Combine addition(size_t n) {
  return [n](Stream& stream, float* to, const float* from) { stream.accumulate(to, from, n); };
}

void combine_whole(Communicator& communicator, float* data, size_t n, float* scratch, const Combine& combine,
                   Stream& stream) {
  const Fold fold(communicator.size(), communicator.rank());
  const size_t bytes = n * sizeof(float);
  const auto swap_with = [&](int peer, size_t give, float* to, size_t take) {
    const Message message{peer, reinterpret_cast<const std::byte*>(data), give, reinterpret_cast<std::byte*>(to), take};
    communicator.exchange({&message, 1}, stream);
  };
  if (fold.beyond) {
    swap_with(fold.peer, bytes, scratch, 0);
    swap_with(fold.peer, 0, data, bytes);
    return;
  }
  if (fold.peer >= 0) {
    swap_with(fold.peer, 0, scratch, bytes);
    combine(stream, data, scratch);
  }
  for (int distance = 1; distance < fold.whole; distance *= 2) {
    swap_with(communicator.rank() ^ distance, bytes, scratch, bytes);
    combine(stream, data, scratch);
  }
  if (fold.peer >= 0) swap_with(fold.peer, bytes, scratch, 0);
}

size_t sent_whole(int ranks, int rank, size_t n) {
  const Fold fold(ranks, rank);
  const auto times = fold.beyond ? 1 : std::bit_width(static_cast<unsigned>(fold.whole)) - 1 + (fold.peer >= 0 ? 1 : 0);
  return static_cast<size_t>(times) * n * sizeof(float);
}

size_t exchanges_of_whole(int ranks) {
  const auto whole = std::bit_floor(static_cast<unsigned>(ranks));
  return static_cast<size_t>(std::bit_width(whole)) - 1 + (static_cast<int>(whole) < ranks ? 2 : 0);
}

size_t TreeAllReduce::sent(int ranks, int rank, size_t n) {
  if (ranks > 1 && n <= small(ranks))
    return sizeof(float) * n * static_cast<size_t>(std::bit_width(static_cast<unsigned>(ranks)) - 1);
  return sent_to_scatter(ranks, rank, n) + sent_to_gather(ranks, rank, n);
}

size_t TreeAllReduce::sent_to_scatter(int ranks, int rank, size_t n) {
  size_t floats = 0;
  const Halvings steps(ranks, rank, n);
  for (const Halving& step : steps.all()) floats += step.given.size();
  return floats * sizeof(float);
}

size_t TreeAllReduce::sent_to_gather(int ranks, int rank, size_t n) {
  size_t floats = 0;
  const Halvings steps(ranks, rank, n);
  for (const Halving& step : steps.all()) floats += step.kept.size();
  return floats * sizeof(float);
}

size_t TreeAllReduce::exchanges_of_half(int ranks) {
  return static_cast<size_t>(std::bit_width(static_cast<unsigned>(ranks - 1)));
}

size_t TreeAllReduce::exchanges(int ranks, size_t n) {
  return (ranks > 1 && n <= small(ranks) ? 1 : 2) * exchanges_of_half(ranks);
}

Interval TreeAllReduce::owned(int ranks, int rank, size_t n) {
  const Halvings steps(ranks, rank, n);
  const Range last = steps.depth == 0 ? Range{0, n} : steps.all().back().kept;
  return {static_cast<int64_t>(last.begin), static_cast<int64_t>(last.end)};
}

std::vector<int> TreeAllReduce::owners(int ranks) {
  std::vector<int> all(static_cast<size_t>(ranks));
  std::iota(all.begin(), all.end(), 0);
  // A line each.
  std::ranges::sort(all, {}, [&](int rank) { return owned(ranks, rank, line * static_cast<size_t>(ranks)); });
  return all;
}

void TreeAllReduce::scatter(float* data, size_t n, Stream& stream) {
  const Halvings steps(communicator_.size(), communicator_.rank(), n);
  for (const auto& [peer, kept, given] : steps.all()) {
    const Message message{peer, reinterpret_cast<const std::byte*>(data + given.begin), given.size() * sizeof(float),
                          scratch_.data(), kept.size() * sizeof(float)};
    communicator_.exchange({&message, 1}, stream);
    stream.accumulate(data + kept.begin, reinterpret_cast<const float*>(scratch_.data()), kept.size());
  }
}

void TreeAllReduce::gather(Communicator& communicator, float* data, size_t n, Stream& stream) {
  const Halvings steps(communicator.size(), communicator.rank(), n);
  for (size_t depth = steps.depth; depth-- > 0;) {
    const auto& [peer, kept, given] = steps.steps[depth];
    const Message message{peer, reinterpret_cast<const std::byte*>(data + kept.begin), kept.size() * sizeof(float),
                          reinterpret_cast<std::byte*>(data + given.begin), given.size() * sizeof(float)};
    communicator.exchange({&message, 1}, stream);
  }
}

void merge_lane(Stream& stream, float* sum_of_lane, size_t n, size_t slot_stride_bytes, int lane) {
  merge_lane(stream, sum_of_lane, slot_stride_bytes, lane, addition(n));
}

void merge_lane(Stream& stream, float* sum_of_lane, size_t slot_stride_bytes, int lane, const Combine& combine) {
  float* slot = sum_of_lane;
  for (int carry = lane; carry & 1; carry >>= 1) {
    auto* below = reinterpret_cast<float*>(reinterpret_cast<std::byte*>(slot) - slot_stride_bytes);
    combine(stream, below, slot);
    slot = below;
  }
}

}  // namespace lockstep
