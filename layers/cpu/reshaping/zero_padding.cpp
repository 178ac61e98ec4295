#include "layers/reshaping/zero_padding.h"

#include <cstring>

#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"

namespace lockstep::cpu {

namespace {

/// `n` floats of zeros, or copied.
void put(float* to, const float* from, int64_t n) {
  const size_t bytes = static_cast<size_t>(n) * sizeof(float);
  if (from)
    std::memcpy(to, from, bytes);
  else
    std::memset(to, 0, bytes);
}

}  // namespace

Kernel make(const PadOp& op, const Signature& signature) {
  const Shape x = signature.in[0].shape, y = signature.out[0].shape;
  // Columns of y that are zeros before, copied, and zeros after.
  const int64_t before = std::clamp<int64_t>(op.before[1], 0, y[2]), skipped = std::max<int64_t>(-op.before[1], 0);
  const int64_t copied = std::clamp<int64_t>(x[2] - skipped, 0, y[2] - before), after = y[2] - before - copied;
  return {.run = [=, top = op.before[0]](Stream&, const Args& args) {
    parallel_for(y[0] * y[1], y[2] * y[3] * 8, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        float* to = args.out[0].as() + row * y[2] * y[3];
        const int64_t line = row % y[1] - top;
        if (line < 0 || line >= x[1]) {
          put(to, nullptr, y[2] * y[3]);
          continue;
        }
        put(to, nullptr, before * y[3]);
        put(to + before * y[3], args.in[0].as() + ((row / y[1] * x[1] + line) * x[2] + skipped) * x[3], copied * y[3]);
        put(to + (before + copied) * y[3], nullptr, after * y[3]);
      }
    });
  }};
}

}  // namespace lockstep::cpu
