#include "parallel/tree_reduce.h"

#include <algorithm>
#include <array>
#include <bit>

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
    halve_and_gather(data, n, stream);
  }
}

void TreeAllReduce::double_up(float* data, size_t n, Stream& stream) {
  auto* scratch = reinterpret_cast<float*>(scratch_.data());
  for (int distance = 1; distance < communicator_.size(); distance *= 2) {
    const Message message{communicator_.rank() ^ distance, reinterpret_cast<const std::byte*>(data), n * sizeof(float),
                          scratch_.data(), n * sizeof(float)};
    communicator_.exchange({&message, 1}, stream);
    stream.accumulate(data, scratch, n);
  }
}

void TreeAllReduce::halve_and_gather(float* data, size_t n, Stream& stream) {
  struct Step {
    int peer;
    Range kept, given;
  };
  std::array<Step, 32> steps;
  size_t depth = 0;
  Range range{0, n};
  for (int distance = 1; distance < communicator_.size(); distance *= 2) {
    const size_t middle = std::min(range.end, range.begin + (range.size() / 2 + line - 1) / line * line);
    Step step{communicator_.rank() ^ distance, {range.begin, middle}, {middle, range.end}};
    if (communicator_.rank() & distance) std::swap(step.kept, step.given);
    range = step.kept;
    const Message message{step.peer, reinterpret_cast<const std::byte*>(data + step.given.begin),
                          step.given.size() * sizeof(float), scratch_.data(), range.size() * sizeof(float)};
    communicator_.exchange({&message, 1}, stream);
    stream.accumulate(data + range.begin, reinterpret_cast<const float*>(scratch_.data()), range.size());
    steps[depth++] = step;
  }
  while (depth-- > 0) {
    const Step& step = steps[depth];
    const Message message{step.peer, reinterpret_cast<const std::byte*>(data + step.kept.begin),
                          step.kept.size() * sizeof(float), reinterpret_cast<std::byte*>(data + step.given.begin),
                          step.given.size() * sizeof(float)};
    communicator_.exchange({&message, 1}, stream);
  }
}

void merge_lane(Stream& stream, float* sum_of_lane, size_t n, size_t slot_stride_bytes, int lane) {
  float* slot = sum_of_lane;
  for (int carry = lane; carry & 1; carry >>= 1) {
    auto* below = reinterpret_cast<float*>(reinterpret_cast<std::byte*>(slot) - slot_stride_bytes);
    stream.accumulate(below, slot, n);
    slot = below;
  }
}

}  // namespace lockstep
