#include "layers/cuda/column_sum.h"

#include "layers/cuda/columns.cuh"

namespace lockstep::cuda {

namespace {

/// Fixed, so that the order of a sum is the same on every card.
constexpr int multiprocessors = 132;

__global__ void __launch_bounds__(combine_threads) add_parts_kernel(Columns s, const float* parts, float* out) {
  combine_parts(
      static_cast<int>(s.parts), s.channels,
      [&](int part, int c, double& sum, double&) { sum += double{parts[int64_t{part} * s.channels + c]}; },
      [&](int c, double sum, double) { out[c] = static_cast<float>(sum); });
}

}  // namespace

size_t column_sum_workspace(int64_t rows, int64_t channels) {
  // The type, which is not known here, decides how rows are cut.
  int64_t parts = 0;
  for (const DType dtype : {DType::f32, DType::f16})
    parts = std::max(parts, Columns(rows, channels, columns_pack(dtype, channels), multiprocessors).parts);
  return static_cast<size_t>(parts * channels) * sizeof(float);
}

void column_sum(Stream& stream, DType dtype, const std::byte* matrix, int64_t rows, int64_t channels, float* out,
                std::byte* workspace) {
  if (channels == 0) return;
  with_packs(dtype, channels, [&]<class T, int Size>(T, std::integral_constant<int, Size>) {
    const Columns s(rows, channels, Size, multiprocessors);
    auto* const parts = reinterpret_cast<float*>(workspace);
    if (!s.empty())
      launch(stream, s.grid(), sum_parts_kernel<T, Size, float>, s, reinterpret_cast<const T*>(matrix), parts, 1.0F);
    launch(stream, combine_grid(channels), add_parts_kernel, s, parts, out);
  });
}

}  // namespace lockstep::cuda
