#include "layers/regularization/dropout.h"

#include <cmath>

#include "layers/cuda/context.h"
#include "layers/cuda/regularization/philox.cuh"

namespace lockstep::cuda {

namespace {

struct Mask {
  int64_t samples = 0;
  SampleRuns part;
  int64_t runs = 1, packs = 0;  // of a sample, of a run
  int32_t threshold = 0;        // of 2^24: what lies below is dropped
  float scale = 0;
  uint32_t layer = 0;
};

/// A thread a pack of a whole sample that a run meets: 4 or 8 elements, one or two Philox blocks.
template <class T>
__global__ void dropout_kernel(const T* x, T* y, const StepState* step, const LaneState* lane, Mask mask) {
  constexpr int size = pack_size<T>;
  static_assert(size % 4 == 0);
  const DropoutKey key(step, mask.layer);
  const int64_t pack = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, run = pack / mask.packs;
  if (run >= mask.samples * mask.runs) return;
  const SampleRuns& part = mask.part;
  int64_t sample = run, start = part.first;
  if (mask.runs > 1) {
    sample = run / mask.runs;
    const int64_t of_sample = run - sample * mask.runs, row = of_sample / part.columns;
    start += row * part.row_pitch + (of_sample - row * part.columns) * part.column_pitch;
  }
  const int64_t first = (start / size + pack - run * mask.packs) * size;  // in the whole sample
  if (first >= start + part.length) return;
  const auto global = static_cast<uint64_t>(lane->first + sample);
  bool kept[size];
#pragma unroll
  for (int k = 0; k < size; k += 4) {
    const PhiloxBits bits = key.bits(global, static_cast<uint64_t>(first + k) / 4);
#pragma unroll
    for (int i = 0; i < 4; ++i) kept[k + i] = static_cast<int32_t>(bits.v[i] >> 8) >= mask.threshold;
  }
  const int64_t at = run * part.length + first - start;
  if (start % size == 0 && part.length % size == 0) {
    const auto from = *reinterpret_cast<const Pack<T>*>(x + at);
    Pack<T> to;
#pragma unroll
    for (int i = 0; i < size; ++i) to.v[i] = from_float<T>(kept[i] ? to_float(from.v[i]) * mask.scale : 0.0F);
    *reinterpret_cast<Pack<T>*>(y + at) = to;
    return;
  }
#pragma unroll
  for (int i = 0; i < size; ++i)
    if (first + i >= start && first + i < start + part.length)
      y[at + i] = from_float<T>(kept[i] ? to_float(x[at + i]) * mask.scale : 0.0F);
}

}  // namespace

Kernel make(const DropoutOp& op, const Signature& signature, const SharedContext&) {
  const Type& x = signature.in[0];
  const SampleRuns part = op.runs(x.shape);
  // to_uniform(bits) = (bits >> 8) / 2^24, so comparing whole numbers decides the same.
  const Mask mask{.samples = x.shape[0],
                  .part = part,
                  .runs = part.runs(),
                  .threshold = static_cast<int32_t>(std::ceil(double{op.rate} * 0x1p24)),
                  .scale = 1 / (1 - op.rate),
                  .layer = op.layer};
  return {.run = [mask, elements = x.shape.elements(), dtype = x.dtype](Stream& stream, const Args& args) {
    if (elements == 0) return;
    with_float(dtype, [&]<class T>(T) {
      Mask packed = mask;
      packed.packs = mask.part.pieces(pack_size<T>);
      launch(stream, {blocks_for(packed.samples * packed.runs * packed.packs)}, dropout_kernel<T>, args.in[0].as<T>(),
             args.out[0].as<T>(), args.in[1].as<StepState>(), args.in[2].as<LaneState>(), packed);
    });
  }};
}

}  // namespace lockstep::cuda
