#include "layers/dropout.h"

#include <cmath>

#include "core/random.h"
#include "core/step_state.h"
#include "layers/cuda/context.h"
#include "layers/cuda/device.cuh"

namespace lockstep::cuda {

namespace {

struct PhiloxBits {
  uint32_t v[4];
};

/// philox4x32 of core/random.h.
__device__ PhiloxBits philox(PhiloxBits c, uint32_t k0, uint32_t k1) {
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * c.v[0], b = uint64_t{0xCD9E8D57} * c.v[2];
    c = {{static_cast<uint32_t>(b >> 32) ^ c.v[1] ^ k0, static_cast<uint32_t>(b),
          static_cast<uint32_t>(a >> 32) ^ c.v[3] ^ k1, static_cast<uint32_t>(a)}};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c;
}

__device__ uint32_t low(uint64_t x) { return static_cast<uint32_t>(x); }
__device__ uint32_t high(uint64_t x) { return static_cast<uint32_t>(x >> 32); }

struct Mask {
  int64_t samples = 0, elements = 0;  // elements of a sample
  int32_t threshold = 0;              // of 2^24: what lies below is dropped
  float scale = 0;
  uint32_t layer = 0;
};

/// A thread a pack of one sample: 4 or 8 elements, one or two Philox blocks.
template <class T>
__global__ void dropout_kernel(const T* x, T* y, const StepState* step, const LaneState* lane, Mask mask) {
  constexpr int size = pack_size<T>;
  static_assert(size % 4 == 0);
  // The step may be a replayed one, so the key is made where its number is: once a block, as it costs what the bits do.
  __shared__ uint32_t key[2];
  if (threadIdx.x == 0) {
    const PhiloxBits derived =
        philox({{static_cast<uint32_t>(Purpose::Dropout), mask.layer, low(step->step), high(step->step)}},
               low(step->seed), high(step->seed));
    key[0] = derived.v[0];
    key[1] = derived.v[1];
  }
  __syncthreads();
  const int64_t packs = (mask.elements + size - 1) / size;
  const int64_t pack = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t sample = pack / packs, first = (pack - sample * packs) * size;
  if (sample >= mask.samples) return;
  const auto global = static_cast<uint64_t>(lane->first + sample);
  bool kept[size];
#pragma unroll
  for (int k = 0; k < size; k += 4) {
    const auto block = static_cast<uint64_t>(first + k) / 4;
    const PhiloxBits bits = philox({{low(block), high(block), low(global), high(global)}}, key[0], key[1]);
#pragma unroll
    for (int i = 0; i < 4; ++i) kept[k + i] = static_cast<int32_t>(bits.v[i] >> 8) >= mask.threshold;
  }
  const int64_t at = sample * mask.elements + first;
  if (mask.elements % size == 0) {
    const auto from = *reinterpret_cast<const Pack<T>*>(x + at);
    Pack<T> to;
#pragma unroll
    for (int i = 0; i < size; ++i) to.v[i] = from_float<T>(kept[i] ? to_float(from.v[i]) * mask.scale : 0.0F);
    *reinterpret_cast<Pack<T>*>(y + at) = to;
    return;
  }
#pragma unroll
  for (int i = 0; i < size; ++i)
    if (first + i < mask.elements) y[at + i] = from_float<T>(kept[i] ? to_float(x[at + i]) * mask.scale : 0.0F);
}

}  // namespace

Kernel make(const DropoutOp& op, const Signature& signature, const SharedContext&) {
  const Type& x = signature.in[0];
  const int64_t samples = x.shape[0], elements = samples ? x.shape.elements() / samples : 0;
  // to_uniform(bits) = (bits >> 8) / 2^24, so comparing whole numbers decides the same.
  const Mask mask{samples, elements, static_cast<int32_t>(std::ceil(double{op.rate} * 0x1p24)), 1 / (1 - op.rate),
                  op.layer};
  return {.run = [mask, dtype = x.dtype](Stream& stream, const Args& args) {
    if (mask.samples == 0 || mask.elements == 0) return;
    with_float(dtype, [&]<class T>(T) {
      const int64_t packs = (mask.elements + pack_size<T> - 1) / pack_size<T>;
      launch(stream, {blocks_for(mask.samples * packs)}, dropout_kernel<T>, args.in[0].as<T>(), args.out[0].as<T>(),
             args.in[1].as<StepState>(), args.in[2].as<LaneState>(), mask);
    });
  }};
}

}  // namespace lockstep::cuda
