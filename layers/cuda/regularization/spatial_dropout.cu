#include "layers/regularization/spatial_dropout.h"

#include <cmath>

#include "layers/cuda/activations/gate.cuh"
#include "layers/cuda/context.h"
#include "layers/cuda/regularization/philox.cuh"

namespace lockstep::cuda {

namespace {

struct Channels {
  int64_t samples = 0, channels = 0, first = 0;
  int32_t threshold = 0;  // of 2^24: what lies below is dropped
  float scale = 0;
  uint32_t layer = 0;
};

/// A thread a channel of a sample: what it is multiplied with.
__global__ void channel_factors_kernel(Channels s, const StepState* step, const LaneState* lane, float* factors) {
  const DropoutKey key(step, s.layer);
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= s.samples * s.channels) return;
  const int64_t sample = i / s.channels, channel = s.first + (i - sample * s.channels);
  const PhiloxBits bits = key.bits(static_cast<uint64_t>(lane->first + sample), static_cast<uint64_t>(channel) / 4);
  factors[i] = static_cast<int32_t>(bits.v[channel % 4] >> 8) >= s.threshold ? s.scale : 0.0F;
}

}  // namespace

Kernel make(const SpatialDropoutOp& op, const Signature& signature, const SharedContext&) {
  const Type& x = signature.in[0];
  // to_uniform(bits) = (bits >> 8) / 2^24, so comparing whole numbers decides the same.
  const Channels s{.samples = x.shape[0],
                   .channels = x.shape[3],
                   .first = op.first,
                   .threshold = static_cast<int32_t>(std::ceil(double{op.rate} * 0x1p24)),
                   .scale = 1 / (1 - op.rate),
                   .layer = op.layer};
  return {.workspace = static_cast<size_t>(s.samples * s.channels) * sizeof(float),
          .run = [s, x](Stream& stream, const Args& args) {
            if (x.shape.elements() == 0) return;
            launch(stream, {blocks_for(s.samples * s.channels)}, channel_factors_kernel, s, args.in[1].as<StepState>(),
                   args.in[2].as<LaneState>(), reinterpret_cast<float*>(args.workspace));
            gate<float>(stream, x, args.in[0].data, args.workspace, args.out[0].data);
          }};
}

}  // namespace lockstep::cuda
