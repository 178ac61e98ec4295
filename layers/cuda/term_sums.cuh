// Sums over the rows of a [rows, channels] matrix of terms made from its elements: gradients of values that every row
// shares. Device code.
#pragma once

#include "layers/cuda/columns.cuh"

namespace lockstep::cuda {

/// Fixed, so that the order of a sum is the same on every card.
inline constexpr int term_multiprocessors = 132;

/// parts[part, j, c] = the sum over the part's rows of term j; terms(row, c, out) makes those of the `Size` channels
/// from c on, and sees every element once.
template <int Size, int Sums, class Terms>
__global__ void __launch_bounds__(block_threads, Columns::resident)
    term_parts_kernel(Columns s, Terms terms, float* parts) {
  const Place at(s, blockIdx.x, s.rows);
  float sums[Sums][Size] = {};
  for (int row = at.row; row < at.end; row += s.height) {
    float term[Sums][Size];
    terms(at.begin + row, at.pack * Size, term);
#pragma unroll
    for (int j = 0; j < Sums; ++j)
#pragma unroll
      for (int k = 0; k < Size; ++k) sums[j][k] += term[j][k];
  }
  sum_rows<Size, Sums>(s, at.row, sums);
  if (!at.holds_sums()) return;
#pragma unroll
  for (int j = 0; j < Sums; ++j) store_channels(parts + at.result<Size>(s, Sums) + int64_t{j} * s.channels, sums[j]);
}

/// out[j][c] = the sum of term j over the parts, of one or two terms; `b` is not used where there is one.
template <int Sums>
__global__ void __launch_bounds__(combine_threads)
    term_totals_kernel(Columns s, const float* parts, float* a, float* b) {
  combine_parts(
      static_cast<int>(s.parts), s.channels,
      [&](int part, int c, double& first, double& second) {
        const float* from = parts + int64_t{part} * Sums * s.channels + c;
        first += double{from[0]};
        if constexpr (Sums > 1) second += double{from[s.channels]};
      },
      [&](int c, double first, double second) {
        a[c] = static_cast<float>(first);
        if constexpr (Sums > 1) b[c] = static_cast<float>(second);
      });
}

/// Bytes of `parts`, whatever the elements' type.
inline size_t term_sums_workspace(int64_t rows, int64_t channels, int sums) {
  int64_t parts = 0;
  for (const DType dtype : {DType::f32, DType::f16})
    parts = std::max(parts, Columns(rows, channels, columns_pack(dtype, channels), term_multiprocessors).parts);
  return static_cast<size_t>(parts * channels * sums) * sizeof(float);
}

/// Enqueues both. The matrix has rows and channels.
template <int Size, int Sums, class Terms>
void term_sums(Stream& stream, int64_t rows, int64_t channels, const Terms& terms, std::byte* workspace, float* a,
               float* b = nullptr) {
  const Columns s(rows, channels, Size, term_multiprocessors);
  auto* const parts = reinterpret_cast<float*>(workspace);
  if (!s.empty()) launch(stream, s.grid(), term_parts_kernel<Size, Sums, Terms>, s, terms, parts);
  launch(stream, combine_grid(channels), term_totals_kernel<Sums>, s, parts, a, b);
}

}  // namespace lockstep::cuda
