#include "layers/cuda/linear/weights.h"

#include "layers/cuda/columns.cuh"
#include "layers/cuda/convert.h"

namespace lockstep::cuda {

namespace {

/// A thread `Size` channels of one row.
template <class T, int Size>
__global__ void bias_kernel(const T* x, T* y, const float* bias, int64_t packs, int64_t packs_a_row, bool with_relu) {
  const int64_t at = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (at >= packs) return;
  const int64_t channel = at % packs_a_row * Size;
  Pack<T, Size> values = load_pack<T, Size>(x + at * Size);
  for (int k = 0; k < Size; ++k) {
    float value = to_float(values.v[k]);
    if (bias) value += bias[channel + k];
    if (with_relu) value = relu(value);
    values.v[k] = from_float<T>(value);
  }
  *(reinterpret_cast<Pack<T, Size>*>(y) + at) = values;
}

}  // namespace

void pack_weights(Kernel& kernel, size_t weights, DType to, int64_t n) {
  if (to == DType::f32) return;
  kernel.packed = static_cast<size_t>(n) * size_of(to);
  kernel.prepare = [weights, to, n](Stream& stream, const Args& args) {
    convert(stream, DType::f32, args.in[weights].data, to, args.packed, n);
  };
}

void add_bias(Stream& stream, DType dtype, std::byte* y, const float* bias, int64_t rows, int64_t channels, bool relu) {
  if (bias || relu) add_bias(stream, dtype, y, y, bias, rows, channels, relu);
}

void add_bias(Stream& stream, DType dtype, const std::byte* x, std::byte* y, const float* bias, int64_t rows,
              int64_t channels, bool relu) {
  if (rows * channels == 0) return;
  with_packs(dtype, channels, [&]<class T, int Size>(T, std::integral_constant<int, Size>) {
    const int64_t packs = rows * channels / Size;
    launch(stream, {blocks_for(packs)}, bias_kernel<T, Size>, reinterpret_cast<const T*>(x), reinterpret_cast<T*>(y),
           bias, packs, channels / Size, relu);
  });
}

}  // namespace lockstep::cuda
