// Kernels over a matrix [rows, channels] whose threads keep to their channels: sums over rows, in an order that depends
// on the shape and the card alone, and passes that hold a channel's parameters in registers. Device code.
#pragma once

#include <cstring>
#include <type_traits>

#include "layers/cuda/device.cuh"

namespace lockstep::cuda {

/// How the matrix is cut. A block takes `width` packs of channels of the rows of one part; its threads lie `height`
/// rows deep over them, so that a warp's packs are neighbours in memory.
struct Columns {
  /// Blocks of a kernel here that one multiprocessor runs at once, see __launch_bounds__.
  static constexpr int resident = 3;

  /// As many parts as fill the card a whole number of times: a last wave that is half empty costs as much as a full
  /// one.
  Columns(int64_t rows, int64_t channels, int pack, int multiprocessors) : Columns(rows, channels, pack) {
    const int64_t wave = int64_t{resident} * multiprocessors;
    const int64_t waves = std::clamp<int64_t>(rows * chunks / (wave * height * 16), 1, 4);
    const int64_t wanted = std::max<int64_t>(waves * wave / std::max(chunks, 1), 1);
    // A thread has work for one round of loads at least.
    cut(std::max<int64_t>(((rows + wanted - 1) / wanted + height - 1) / height, 4) * height);
  }
  /// Parts of `part_rows` rows, at least 1.
  static Columns of_parts(int64_t rows, int64_t channels, int pack, int64_t part_rows) {
    Columns columns(rows, channels, pack);
    columns.cut(part_rows);
    return columns;
  }

  bool empty() const { return parts * chunks == 0; }
  Grid grid() const { return {static_cast<unsigned>(parts * chunks), block_threads}; }

  int64_t rows, parts = 0;
  int per_part = 0;  // rows of a part
  int channels;
  int packs;   // of a row
  int chunks;  // of `width` packs, in a row
  int width, height;

 private:
  /// Half of what 32 bits can count, so that some rounds more can be counted, too.
  static constexpr int64_t most = INT32_MAX / 2;

  Columns(int64_t rows, int64_t channels, int pack)
      : rows(rows),
        channels(static_cast<int>(std::min(channels, most))),
        packs(this->channels / pack),
        chunks((packs + 31) / 32),
        width(chunks > 0 ? (packs + chunks - 1) / chunks : 1),
        height(static_cast<int>(block_threads) / width) {}

  void cut(int64_t part_rows) {
    parts = (rows + part_rows - 1) / part_rows;
    if (channels >= most || part_rows > most || parts > most / std::max(chunks, 1))
      throw Error("a matrix [{}, {}] is too large for the kernels that sum its columns", rows, channels);
    per_part = static_cast<int>(part_rows);
  }
};

/// Elements of a pack of T in rows of `channels`.
template <class T>
int columns_pack(int64_t channels) {
  return channels % pack_size<T> == 0 ? pack_size<T> : 1;
}

/// Calls body(T{}, std::integral_constant<int, Size>{}) with the element type and the size of its packs.
template <class Body>
void with_packs(DType dtype, int64_t channels, Body&& body) {
  with_float(dtype, [&]<class T>(T) {
    if (columns_pack<T>(channels) == pack_size<T>)
      body(T{}, std::integral_constant<int, pack_size<T>>{});
    else
      body(T{}, std::integral_constant<int, 1>{});
  });
}
inline int columns_pack(DType dtype, int64_t channels) {
  int pack = 1;
  with_packs(dtype, channels, [&]<class T, int Size>(T, std::integral_constant<int, Size>) { pack = Size; });
  return pack;
}

/// What one thread has to do: its pack of channels in the part's rows `row`, `row` + height, … below `end`. A thread
/// without work has none of these rows.
struct Place {
  /// Only the matrix' first `rows` rows count.
  __device__ Place(const Columns& s, unsigned block, int64_t rows)
      : part(static_cast<int>(block) / s.chunks), row(static_cast<int>(threadIdx.x) / s.width) {
    pack = (static_cast<int>(block) - part * s.chunks) * s.width + static_cast<int>(threadIdx.x) - row * s.width;
    works = row < s.height && pack < s.packs;
    begin = int64_t{part} * s.per_part;
    part_rows = static_cast<int>(max(min(rows - begin, int64_t{s.per_part}), int64_t{0}));
    end = works ? part_rows : 0;
  }
  /// Its elements in the part's first row, and in an array [parts, `values`, channels].
  template <int Size>
  __device__ int64_t first(const Columns& s) const {
    return begin * s.channels + pack * Size;
  }
  template <int Size>
  __device__ int64_t result(const Columns& s, int values) const {
    return int64_t{part} * values * s.channels + pack * Size;
  }
  /// Whether the thread holds what the block has summed.
  __device__ bool holds_sums() const { return works && row == 0; }

  int part, row, pack;
  bool works;
  int part_rows, end;  // the part's rows that count; the same for this thread, 0 where it has no work
  int64_t begin;       // the part's first row
};

template <class T, int Size>
__device__ inline Pack<T, Size> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, Size>*>(from);
}

/// Element k. Two bf16 stay one register until they are needed: taken apart by their type, they would all be at once.
template <class T, int Size>
__device__ inline float element(const Pack<T, Size>& pack, int k) {
  if constexpr (std::is_same_v<T, bfloat_t> && Size > 1) {
    uint32_t two = 0;
    memcpy(&two, pack.v + k / 2 * 2, sizeof two);
    const uint32_t bits = k % 2 ? two & 0xFFFF0000U : two << 16;
    float x = 0;
    memcpy(&x, &bits, sizeof x);
    return x;
  } else {
    return to_float(pack.v[k]);
  }
}

template <class T, int Size>
__device__ inline void store_pack(T* to, const float (&from)[Size]) {
  Pack<T, Size> pack;
#pragma unroll
  for (int k = 0; k < Size; ++k) pack.v[k] = from_float<T>(from[k]);
  *reinterpret_cast<Pack<T, Size>*>(to) = pack;
}

/// `Size` values a channel, 16 bytes at once: `from` starts at a multiple of `Size` channels of an array that is
/// aligned.
template <int Size>
__device__ inline void load_channels(float (&to)[Size], const float* from) {
  constexpr int step = Size < 4 ? Size : 4;
#pragma unroll
  for (int i = 0; i < Size; i += step) {
    const auto some = load_pack<float, step>(from + i);
#pragma unroll
    for (int k = 0; k < step; ++k) to[i + k] = some.v[k];
  }
}

template <int Size>
__device__ inline void store_channels(float* to, const float (&from)[Size]) {
  constexpr int step = Size < 4 ? Size : 4;
#pragma unroll
  for (int i = 0; i < Size; i += step) {
    Pack<float, step> some;
#pragma unroll
    for (int k = 0; k < step; ++k) some.v[k] = from[i + k];
    *reinterpret_cast<Pack<float, step>*>(to + i) = some;
  }
}

/// The threads over the same channels become one: merge(n) adds to a thread's state that of the thread `n` threads on,
/// in a fixed tree, until the first row of threads holds all. State lies in shared memory; all threads call this.
template <class Merge>
__device__ inline void merge_rows(const Columns& s, int row, Merge merge) {
  for (int n = s.height; n > 1;) {
    const int half = (n + 1) / 2;
    __syncthreads();
    if (row + half < n) merge(half * s.width);
    n = half;
  }
}

/// Sums of each channel over the thread rows of a block, for the threads of the first row. All threads call it, once.
template <int Size, int Sums>
__device__ inline void sum_rows(const Columns& s, int row, float (&sums)[Sums][Size]) {
  __shared__ float scratch[Sums][Size][block_threads];
  const unsigned t = threadIdx.x;
#pragma unroll
  for (int j = 0; j < Sums; ++j)
#pragma unroll
    for (int k = 0; k < Size; ++k) scratch[j][k][t] = sums[j][k];
  merge_rows(s, row, [&](int n) {
#pragma unroll
    for (int j = 0; j < Sums; ++j)
#pragma unroll
      for (int k = 0; k < Size; ++k) scratch[j][k][t] = sums[j][k] += scratch[j][k][t + n];
  });
}

/// out[part, c] = `scale` times the sum over the part's rows of x.
template <class T, int Size, class Out>
__global__ void __launch_bounds__(block_threads, Columns::resident)
    sum_parts_kernel(Columns s, const T* x, Out* out, float scale) {
  constexpr int unroll = 4;
  const Place at(s, blockIdx.x, s.rows);
  const T* const from = x + at.first<Size>(s);
  float sums[1][Size] = {};
  for (int row = at.row; row < at.end; row += unroll * s.height) {
    Pack<T, Size> in[unroll];
#pragma unroll
    for (int i = 0; i < unroll; ++i)
      if (row + i * s.height < at.end) in[i] = load_pack<T, Size>(from + int64_t{row + i * s.height} * s.channels);
#pragma unroll
    for (int i = 0; i < unroll; ++i)
      if (row + i * s.height < at.end) {
#pragma unroll
        for (int k = 0; k < Size; ++k) sums[0][k] += element(in[i], k);
      }
  }
  sum_rows<Size, 1>(s, at.row, sums);
  if (!at.holds_sums()) return;
#pragma unroll
  for (int k = 0; k < Size; ++k) sums[0][k] *= scale;
  out += at.result<Size>(s, 1);
  if constexpr (std::is_same_v<Out, float>)
    store_channels(out, sums[0]);
  else
    store_pack<Out, Size>(out, sums[0]);
}

/// Adds up what the parts hold, two sums a channel in 64 bits: terms(part, c, a, b) adds a part's to them, and
/// finish(c, a, b) keeps the result. A warp reads a sector of 8 channels from each of 4 parts at once; the many threads
/// of a block shorten what is but waiting for memory.
inline constexpr int combine_threads = 1024, combine_channels = 8;
inline constexpr int combine_slices = combine_threads / combine_channels;

template <class Terms, class Finish>
__device__ inline void combine_parts(int parts, int channels, Terms terms, Finish finish) {
  __shared__ double scratch[2][combine_threads];
  const int t = static_cast<int>(threadIdx.x), slice = t / combine_channels;
  const int c = static_cast<int>(blockIdx.x) * combine_channels + t % combine_channels;
  double a = 0, b = 0;
  if (c < channels) {
#pragma unroll 4
    for (int part = slice; part < parts; part += combine_slices) terms(part, c, a, b);
  }
  scratch[0][t] = a;
  scratch[1][t] = b;
  for (int half = combine_slices / 2; half > 0; half /= 2) {
    __syncthreads();
    if (slice < half) {
      scratch[0][t] = a += scratch[0][t + half * combine_channels];
      scratch[1][t] = b += scratch[1][t + half * combine_channels];
    }
  }
  if (slice == 0 && c < channels) finish(c, a, b);
}
inline Grid combine_grid(int64_t channels) { return {blocks_for(channels, combine_channels), combine_threads}; }

}  // namespace lockstep::cuda
