#include "layers/pooling/global_max_pool.h"

#include <algorithm>

#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"
#include "layers/cpu/vec.h"

namespace lockstep::cpu {

Kernel make(const GlobalMaxPoolOp&, const Signature& signature) {
  const Shape x = signature.in[0].shape;
  return {.run = [n = x[0], pixels = x[1] * x[2], channels = x[3]](Stream&, const Args& args) {
    parallel_for(n, pixels * channels * 4, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const float* image = args.in[0].as() + i * pixels * channels;
        float* y = args.out[0].as() + i * channels;
        auto* argmax = reinterpret_cast<float*>(args.out[1].data) + i * channels;  // the integers' bytes
        for_each_vec(channels, [&]<class V>(V, int64_t c) {
          V best = load<V>(image + c);
          IntOf<V> where = broadcast_int<V>(0);
          for (int64_t pixel = 1; pixel < pixels; ++pixel) {
            const V one = load<V>(image + pixel * channels + c);
            // Written so that a NaN is taken and kept.
            const auto keep = best >= one || best != best;
            best = keep ? best : one;
            where = keep ? where : broadcast_int<V>(static_cast<int32_t>(pixel));
          }
          store(y + c, best);
          std::memcpy(argmax + c, &where, sizeof where);
        });
      }
    });
  }};
}

Kernel make(const GlobalMaxPoolGradOp&, const Signature& signature) {
  const Shape x = signature.out[0].shape;
  return {.run = [n = x[0], pixels = x[1] * x[2], channels = x[3]](Stream&, const Args& args) {
    parallel_for(n, pixels * channels * 4, [&](int64_t begin, int64_t end) {
      std::fill(args.out[0].as() + begin * pixels * channels, args.out[0].as() + end * pixels * channels, 0.0F);
      for (int64_t at = begin * channels; at < end * channels; ++at) {
        const int64_t image = at / channels, pixel = args.in[0].as<int32_t>()[at];
        args.out[0].as()[(image * pixels + pixel) * channels + at % channels] = args.in[1].as()[at];
      }
    });
  }};
}

}  // namespace lockstep::cpu
