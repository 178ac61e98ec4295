#include "layers/moments.h"

#include "layers/cpu/kernels.h"

namespace lockstep::cpu {

/// In the stream's order: reductions run beside the compute stream.
Kernel make(const MergeMomentsOp&, const Signature& signature) {
  return {.run = [n = signature.in[0].shape.elements() / 4](Stream& stream, const Args& args) {
    const auto *a = args.in[0].as<Moments>(), *b = args.in[1].as<Moments>();
    auto* out = args.out[0].as<Moments>();
    stream.enqueue([=] {
      for (int64_t i = 0; i < n; ++i) {
        const double of_a = double{a[i].count}, of_b = double{b[i].count}, count = of_a + of_b;
        const double mean = count > 0 ? (of_a * double{a[i].mean} + of_b * double{b[i].mean}) / count : 0;
        const double apart = double{b[i].mean} - double{a[i].mean};
        const double between = count > 0 ? apart * apart * (of_a * of_b / count) : 0;
        out[i] = {.count = static_cast<float>(count),
                  .mean = static_cast<float>(mean),
                  .squares = static_cast<float>(double{a[i].squares} + double{b[i].squares} + between)};
      }
    });
  }};
}

}  // namespace lockstep::cpu
