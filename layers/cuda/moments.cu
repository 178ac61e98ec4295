#include "layers/moments.h"

#include "layers/cuda/context.h"
#include "layers/cuda/device.cuh"

namespace lockstep::cuda {

namespace {

/// As on the CPU. A thread a channel; out may be a.
__global__ void merge_moments_kernel(const Moments* a, const Moments* b, Moments* out, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const double of_a = double{a[i].count}, of_b = double{b[i].count}, count = of_a + of_b;
  const double mean = count > 0 ? (of_a * double{a[i].mean} + of_b * double{b[i].mean}) / count : 0;
  const double apart = double{b[i].mean} - double{a[i].mean};
  const double between = count > 0 ? apart * apart * (of_a * of_b / count) : 0;
  out[i] = {.count = static_cast<float>(count),
            .mean = static_cast<float>(mean),
            .squares = static_cast<float>(double{a[i].squares} + double{b[i].squares} + between)};
}

}  // namespace

Kernel make(const MergeMomentsOp&, const Signature& signature, const SharedContext&) {
  return {.run = [n = signature.in[0].shape.elements() / 4](Stream& stream, const Args& args) {
    if (n == 0) return;
    launch(stream, {blocks_for(n)}, merge_moments_kernel, args.in[0].as<const Moments>(),
           args.in[1].as<const Moments>(), args.out[0].as<Moments>(), n);
  }};
}

}  // namespace lockstep::cuda
