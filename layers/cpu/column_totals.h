// Totals of terms over the rows of a [rows, channels] matrix, in blocks of rows that are summed in 32 bits and added up
// in 64: gradients of values that every row shares. For kernels.
#pragma once

#include "layers/cpu/columns.h"
#include "layers/cpu/parallel.h"

namespace lockstep::cpu {

/// How the rows are cut; depends on the shape alone.
struct RowBlocks {
  RowBlocks(int64_t rows, int64_t channels)
      : rows(rows), channels(channels), size(rows_per_block(channels)), count((rows + size - 1) / size) {}
  /// Bytes for `sums` totals.
  size_t workspace(int64_t sums) const { return static_cast<size_t>(sums * count * channels) * sizeof(float); }

  int64_t rows, channels, size, count;
};

/// keep(c, totals) for each channel: `terms` is that of sum_columns, with rows of the whole matrix;
/// `workspace` is that of RowBlocks; `bytes` is what a row's terms read.
template <int Sums, class Terms, class Keep>
void column_totals(const RowBlocks& blocks, float* workspace, int64_t bytes, Terms terms, Keep keep) {
  const int64_t channels = blocks.channels;
  parallel_for(blocks.count, blocks.size * bytes, [=, &blocks](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      float* sums[Sums];
      for (int s = 0; s < Sums; ++s) sums[s] = workspace + (Sums * b + s) * channels;
      const int64_t first = b * blocks.size;
      sum_columns<Sums>(
          std::min(blocks.size, blocks.rows - first), channels,
          [=]<class V>(V v, int64_t row, int64_t c, V(&term)[Sums]) { terms(v, first + row, c, term); }, sums);
    }
  });
  for (int64_t c = 0; c < channels; ++c) {
    double totals[Sums] = {};
    for (int64_t b = 0; b < blocks.count; ++b)
      for (int s = 0; s < Sums; ++s) totals[s] += double{workspace[(Sums * b + s) * channels + c]};
    keep(c, totals);
  }
}

}  // namespace lockstep::cpu
