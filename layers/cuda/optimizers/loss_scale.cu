#include "layers/optimizers/loss_scale.h"

#include "layers/cuda/context.h"
#include "layers/cuda/optimizers/optimizer.cuh"

namespace lockstep::cuda {

namespace {

/// Of an input of n elements; enough to fill any device.
int64_t finite_blocks(int64_t n) { return n == 0 ? 0 : std::min<int64_t>(blocks_for((n + 3) / 4), 2048); }

/// bad[block] = how many of the block's elements are infinite or NaN.
template <int Size>
__global__ void count_bad_kernel(const float* x, int64_t n, int64_t* bad) {
  __shared__ int64_t scratch[32];
  int64_t count = 0;
  for (int64_t first = first_of_pack<Size>(); first < n; first += int64_t{gridDim.x} * blockDim.x * Size) {
    const auto pack = load_pack<Size>(x, first, n);
#pragma unroll
    for (int i = 0; i < Size; ++i) count += isfinite(pack.v[i]) ? 0 : 1;
  }
  count = block_sum(count, scratch);
  if (threadIdx.x == 0) bad[blockIdx.x] = count;
}

/// One block.
__global__ void finite_kernel(const int64_t* bad, int64_t n, float* finite) {
  __shared__ int64_t scratch[32];
  int64_t count = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) count += bad[i];
  count = block_sum(count, scratch);
  if (threadIdx.x == 0) *finite = count == 0 ? 1.0F : not_finite;
}

/// One thread.
__global__ void loss_scale_kernel(const float* in, const float* finite, float* out, int growth_interval) {
  float scale = in[0], good = in[1];
  if (*finite > 0) {
    good += 1;
    if (good >= static_cast<float>(growth_interval)) {
      if (isfinite(scale * 2)) scale *= 2;
      good = 0;
    }
  } else {
    scale = max(scale / 2, 1.0F);
    good = 0;
  }
  out[0] = scale;
  out[1] = good;
}

}  // namespace

Kernel make(const FiniteOp&, const Signature& signature, const SharedContext&) {
  std::vector<int64_t> sizes;
  int64_t blocks = 0;
  for (const Type& in : signature.in) {
    sizes.push_back(in.shape.elements());
    blocks += finite_blocks(sizes.back());
  }
  return {.workspace = static_cast<size_t>(blocks) * sizeof(int64_t),
          .run = [sizes, blocks](Stream& stream, const Args& args) {
            auto* bad = reinterpret_cast<int64_t*>(args.workspace);
            int64_t before = 0;
            for (size_t k = 0; k < sizes.size(); ++k) {
              const int64_t n = sizes[k], count = finite_blocks(n);
              if (count == 0) continue;
              const float* x = args.in[k].as();
              with_pack_size({x}, [&]<int Size>(std::integral_constant<int, Size>) {
                launch(stream, {static_cast<unsigned>(count)}, count_bad_kernel<Size>, x, n, bad + before);
              });
              before += count;
            }
            launch(stream, {1}, finite_kernel, bad, blocks, args.out[0].as());
          }};
}

Kernel make(const LossScaleOp& op, const Signature&, const SharedContext&) {
  return {.run = [interval = op.growth_interval](Stream& stream, const Args& args) {
    launch(stream, {1, 1}, loss_scale_kernel, args.in[0].as(), args.in[1].as(), args.out[0].as(), interval);
  }};
}

}  // namespace lockstep::cuda
