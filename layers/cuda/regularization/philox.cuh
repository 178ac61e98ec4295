// core/random.h on the device.
#pragma once

#include "core/random.h"
#include "core/step_state.h"
#include "layers/cuda/device.cuh"

namespace lockstep::cuda {

struct PhiloxBits {
  uint32_t v[4];
};

/// philox4x32 of core/random.h.
__device__ inline PhiloxBits philox(PhiloxBits c, uint32_t k0, uint32_t k1) {
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

__device__ inline uint32_t low(uint64_t x) { return static_cast<uint32_t>(x); }
__device__ inline uint32_t high(uint64_t x) { return static_cast<uint32_t>(x >> 32); }

/// The key of a layer's dropout. The step may be a replayed one, so the key is made where its number is: once a block,
/// as it costs what the bits do. All threads call it.
struct DropoutKey {
  uint32_t k0, k1;

  __device__ DropoutKey(const StepState* step, uint32_t layer) {
    __shared__ uint32_t key[2];
    if (threadIdx.x == 0) {
      const PhiloxBits derived =
          philox({{static_cast<uint32_t>(Purpose::dropout), layer, low(step->step), high(step->step)}}, low(step->seed),
                 high(step->seed));
      key[0] = derived.v[0];
      key[1] = derived.v[1];
    }
    __syncthreads();
    k0 = key[0];
    k1 = key[1];
  }
  /// Random::bits.
  __device__ PhiloxBits bits(uint64_t sample, uint64_t block) const {
    return philox({{low(block), high(block), low(sample), high(sample)}}, k0, k1);
  }
};

}  // namespace lockstep::cuda
