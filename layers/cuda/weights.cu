#include "layers/cuda/weights.h"

#include "layers/cuda/device.cuh"

namespace lockstep::cuda {

namespace {

template <class To, class From>
__global__ void convert(const From* in, To* out, int64_t n) {
  constexpr int size = 8;  // 16 bytes of the narrower type
  const int64_t first = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * size;
  if (first + size > n) {
    for (int64_t i = first; i < n; ++i) out[i] = from_float<To>(to_float(in[i]));
    return;
  }
  using Source = Pack<From, size / (sizeof(From) == 4 ? 2 : 1)>;
  using Target = Pack<To, size / (sizeof(To) == 4 ? 2 : 1)>;
  Source from[size / Source::size];
  Target to[size / Target::size];
  for (int k = 0; k < size / Source::size; ++k) from[k] = reinterpret_cast<const Source*>(in + first)[k];
  for (int i = 0; i < size; ++i)
    to[i / Target::size].v[i % Target::size] = from_float<To>(to_float(from[i / Source::size].v[i % Source::size]));
  for (int k = 0; k < size / Target::size; ++k) reinterpret_cast<Target*>(out + first)[k] = to[k];
}

template <class To, class From>
void run_convert(Stream& stream, const std::byte* in, std::byte* out, int64_t n) {
  if (n > 0)
    launch(stream, {blocks_for((n + 7) / 8)}, convert<To, From>, reinterpret_cast<const From*>(in),
           reinterpret_cast<To*>(out), n);
}

/// A thread `Size` channels of one row.
template <class T, int Size>
__global__ void bias_kernel(T* y, const float* bias, int64_t packs, int64_t packs_a_row, bool with_relu) {
  const int64_t at = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (at >= packs) return;
  auto* const place = reinterpret_cast<Pack<T, Size>*>(y) + at;
  const int64_t channel = at % packs_a_row * Size;
  Pack<T, Size> values = *place;
  for (int k = 0; k < Size; ++k) {
    float value = to_float(values.v[k]);
    if (bias) value += bias[channel + k];
    if (with_relu) value = relu(value);
    values.v[k] = from_float<T>(value);
  }
  *place = values;
}

}  // namespace

void pack_weights(Kernel& kernel, size_t weights, DType to, int64_t n) {
  if (to == DType::f32) return;
  kernel.packed = static_cast<size_t>(n) * size_of(to);
  kernel.prepare = [weights, to, n](Stream& stream, const Args& args) {
    with_float(to, [&]<class T>(T) { run_convert<T, float>(stream, args.in[weights].data, args.packed, n); });
  };
}

void convert_to_f32(Stream& stream, DType from, const std::byte* in, float* out, int64_t n) {
  with_float(from, [&]<class T>(T) { run_convert<float, T>(stream, in, reinterpret_cast<std::byte*>(out), n); });
}

void add_bias(Stream& stream, DType dtype, std::byte* y, const float* bias, int64_t rows, int64_t channels, bool relu) {
  if (rows * channels == 0 || (!bias && !relu)) return;
  with_float(dtype, [&]<class T>(T) {
    const auto run = [&]<int Size>(std::integral_constant<int, Size>) {
      const int64_t packs = rows * channels / Size;
      launch(stream, {blocks_for(packs)}, bias_kernel<T, Size>, reinterpret_cast<T*>(y), bias, packs, channels / Size,
             relu);
    };
    if (channels % pack_size<T> == 0)
      run(std::integral_constant<int, pack_size<T>>{});
    else
      run(std::integral_constant<int, 1>{});
  });
}

}  // namespace lockstep::cuda
