// The sum over lanes, written as plainly as the definition: what every faster way must equal bit by bit.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "parallel/reduction/tree_reduce.h"
#include "tests/parallel/device_buffer.h"

namespace lockstep::testing {

using Lanes = std::vector<std::vector<float>>;

/// Random floats of either sign and of magnitudes between 2^-12 and 2^12, so that nearly every order of additions
/// rounds to other bits.
inline Lanes random_lanes(size_t lanes, size_t n) {
  std::mt19937 generator(static_cast<unsigned>(lanes * 1000003 + n));
  std::uniform_real_distribution<float> mantissa(-1, 1), exponent(-12, 12);
  Lanes values(lanes, std::vector<float>(n));
  for (auto& lane : values) {
    for (float& value : lane) value = std::ldexp(mantissa(generator), static_cast<int>(exponent(generator)));
  }
  return values;
}

/// The balanced binary tree over lanes [begin, end); their count is a power of two.
inline std::vector<float> tree_sum(const Lanes& lanes, size_t begin, size_t end) {
  if (end - begin == 1) return lanes[begin];
  auto left = tree_sum(lanes, begin, (begin + end) / 2);
  const auto right = tree_sum(lanes, (begin + end) / 2, end);
  for (size_t i = 0; i < left.size(); ++i) left[i] += right[i];
  return left;
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// One rank's part as training does it: its consecutive lanes through the stack, then the tree between ranks. `offset`
/// floats before the data make it start anywhere.
inline std::vector<float> reduce_on_rank(Communicator& comm, Stream& stream, Backend& backend, const Lanes& lanes,
                                         size_t offset = 0) {
  const size_t n = lanes[0].size(), own = lanes.size() / static_cast<size_t>(comm.size());
  const size_t stride = n + 3;
  // Garbage must never be added.
  Buffer stack(backend, std::vector<float>(offset + stride * (std::bit_width(own) + 1), 1e30F));
  for (size_t lane = 0; lane < own; ++lane) {
    const size_t slot = offset + stride * static_cast<size_t>(std::popcount(lane));
    const auto& terms = lanes[static_cast<size_t>(comm.rank()) * own + lane];
    stream.copy(stack.bytes(slot), reinterpret_cast<const std::byte*>(terms.data()), n * sizeof(float));
    merge_lane(stream, stack.floats(slot), n, stride * sizeof(float), static_cast<int>(lane));
  }
  TreeAllReduce tree(comm, backend, n);
  tree.run(stack.floats(offset), n, stream);
  stream.synchronize();
  const auto all = stack.read();
  const auto first = all.begin() + static_cast<std::ptrdiff_t>(offset);
  return {first, first + static_cast<std::ptrdiff_t>(n)};
}

}  // namespace lockstep::testing
