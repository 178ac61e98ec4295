// Sums over the rows of a [rows, channels] matrix, channel by channel, in an order that depends on the shape alone.
// For kernels; everything runs on the calling thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "layers/cpu/vec.h"

namespace lockstep::cpu {

/// Rows that are summed in 32 bits before their sum is handed to a sum in 64 bits: few enough for accuracy and for the
/// first-level cache, enough that the second sum costs little.
constexpr int64_t rows_per_block(int64_t channels) {
  return std::clamp<int64_t>(8192 / std::max<int64_t>(channels, 1), 32, 256);
}

/// K vectors of channels from channel `c` on. `Chains` sums of different rows run side by side, since one sum alone
/// waits for its own last addition.
template <class V, int Sums, int K, int Chains, class Terms>
[[gnu::always_inline]] inline void sum_chunk(int64_t rows, int64_t c, Terms terms, float* const (&out)[Sums]) {
  V total[Chains][K][Sums] = {};
  const auto add = [&](int64_t row, int chain) {
#pragma GCC unroll 8
    for (int k = 0; k < K; ++k) {
      V term[Sums];
      terms(V{}, row, c + k * width<V>, term);
#pragma GCC unroll 2
      for (int s = 0; s < Sums; ++s) total[chain][k][s] += term[s];
    }
  };
  int64_t row = 0;
  for (; row + Chains <= rows; row += Chains)
#pragma GCC unroll 8
    for (int chain = 0; chain < Chains; ++chain) add(row + chain, chain);
  for (; row < rows; ++row) add(row, 0);
#pragma GCC unroll 8
  for (int chain = 1; chain < Chains; ++chain)
    for (int k = 0; k < K; ++k)
      for (int s = 0; s < Sums; ++s) total[0][k][s] += total[chain][k][s];
  for (int k = 0; k < K; ++k)
    for (int s = 0; s < Sums; ++s) store(out[s] + c + k * width<V>, total[0][k][s]);
}

/// out[s][c] = the sum over rows of term s. `terms(V{}, row, c, term)` computes the terms of a row's channels from c on
/// into `V term[Sums]`. Eight accumulators fit in the registers of every machine of interest.
template <int Sums, int K = 8 / Sums, class Terms>
inline void sum_columns(int64_t rows, int64_t channels, Terms terms, float* const (&out)[Sums], int64_t c = 0) {
  constexpr int accumulators = 8 / Sums;
  for (; c + 8 * K <= channels; c += 8 * K) sum_chunk<Vec, Sums, K, accumulators / K>(rows, c, terms, out);
  if constexpr (K > 1) {
    sum_columns<Sums, K / 2>(rows, channels, terms, out, c);
  } else {
    for (; c < channels; ++c) sum_chunk<float, Sums, 1, accumulators>(rows, c, terms, out);
  }
}

/// Bytes of `workspace` that column_sums needs.
inline size_t column_sums_workspace(int64_t channels) {
  return static_cast<size_t>(channels) * (sizeof(double) + sizeof(float));
}

/// out[c] = the sum over the rows of `matrix` [rows, channels].
inline void column_sums(const float* matrix, int64_t rows, int64_t channels, float* out, std::byte* workspace) {
  auto* total = reinterpret_cast<double*>(workspace);
  float* const block[1] = {reinterpret_cast<float*>(total + channels)};
  std::fill_n(total, channels, 0.0);
  for (int64_t row = 0; row < rows; row += rows_per_block(channels)) {
    const float* from = matrix + row * channels;
    const auto terms = [&]<class V>(V, int64_t i, int64_t c, V(&term)[1]) {
      term[0] = load<V>(from + i * channels + c);
    };
    sum_columns<1>(std::min(rows_per_block(channels), rows - row), channels, terms, block);
    for (int64_t c = 0; c < channels; ++c) total[c] += double{block[0][c]};
  }
  for (int64_t c = 0; c < channels; ++c) out[c] = static_cast<float>(total[c]);
}

}  // namespace lockstep::cpu
