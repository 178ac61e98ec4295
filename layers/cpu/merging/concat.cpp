#include "layers/merging/concat.h"

#include <cstring>

#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"

namespace lockstep::cpu {

Kernel make(const ConcatOp&, const Signature& signature) {
  const int64_t width = signature.out[0].shape[-1], rows = signature.out[0].shape.elements() / width;
  return {.run = [=](Stream&, const Args& args) {
    parallel_for(rows, width * 8, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        float* to = args.out[0].as() + row * width;
        for (const Tensor& in : args.in) {
          const int64_t part = in.shape()[-1];
          std::memcpy(to, in.as() + row * part, static_cast<size_t>(part) * sizeof(float));
          to += part;
        }
      }
    });
  }};
}

Kernel make(const SliceOp& op, const Signature& signature) {
  const int64_t whole = signature.in[0].shape[-1], rows = signature.in[0].shape.elements() / whole;
  return {.run = [=, first = op.begin, width = op.end - op.begin](Stream&, const Args& args) {
    parallel_for(rows, width * 8, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        std::memcpy(args.out[0].as() + row * width, args.in[0].as() + row * whole + first,
                    static_cast<size_t>(width) * sizeof(float));
    });
  }};
}

}  // namespace lockstep::cpu
