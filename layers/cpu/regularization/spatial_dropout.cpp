#include "layers/regularization/spatial_dropout.h"

#include "core/random.h"
#include "core/step_state.h"
#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"
#include "layers/cpu/vec.h"

namespace lockstep::cpu {

Kernel make(const SpatialDropoutOp& op, const Signature& signature) {
  const Shape& x = signature.in[0].shape;
  const int64_t samples = x[0], pixels = x[1] * x[2], channels = x[3];
  return {.workspace = static_cast<size_t>(samples * channels) * sizeof(float),
          .run = [=, rate = op.rate, layer = op.layer, start = op.first](Stream&, const Args& args) {
            const auto& step = *args.in[1].as<StepState>();
            const int64_t first = args.in[2].as<LaneState>()->first;
            const Random random(step.seed, Purpose::dropout, layer, step.step);
            auto* const factors = reinterpret_cast<float*>(args.workspace);
            for (int64_t n = 0; n < samples; ++n)
              for (int64_t c = 0; c < channels; ++c) {
                const auto element = static_cast<uint64_t>(start + c);
                const uint32_t bits = random.bits(static_cast<uint64_t>(first + n), element / 4)[element % 4];
                factors[n * channels + c] = to_uniform(bits) >= rate ? 1 / (1 - rate) : 0.0F;
              }
            const float* from = args.in[0].as();
            float* to = args.out[0].as();
            parallel_for(samples * pixels, channels * 8, [=](int64_t begin, int64_t end) {
              for (int64_t row = begin; row < end; ++row) {
                const float* by = factors + row / pixels * channels;
                for_each_vec(channels, [=]<class V>(V, int64_t c) {
                  const int64_t at = row * channels + c;
                  store(to + at, load<V>(from + at) * load<V>(by + c));
                });
              }
            });
          }};
}

}  // namespace lockstep::cpu
