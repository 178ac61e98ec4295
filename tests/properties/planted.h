// Kernels for the CPU with faults that are easily made, and the same without: what properties must find.
#pragma once

#include <omp.h>

#include "core/graph/kernel.h"
#include "layers/activations/relu.h"
#include "layers/pooling/avg_pool.h"
#include "layers/pooling/max_pool.h"

namespace lockstep::test {

struct ReluFaults {
  int64_t beyond = 0, before = 0;  // elements that are written outside
  bool without_tail = false, changes_input = false, by_threads = false, reads_beyond = false;
};

inline KernelTable::Make relu_kernel(ReluFaults faults) {
  return [=](const Op&, const Signature& signature) -> Kernel {
    return {.run = [=, n = signature.in[0].shape.elements()](Stream&, const Args& args) {
      float *x = args.in[0].as(), *y = args.out[0].as();
      const int64_t end = faults.without_tail ? n / 8 * 8 : n;
      const float off = faults.by_threads && omp_get_max_threads() > 1 ? 0x1p-20F : 0;
      for (int64_t i = 0; i < end; ++i) y[i] = x[i] > 0 ? x[i] + off : 0;
      for (int64_t i = 0; i < faults.beyond; ++i) y[n + i] = 0;
      for (int64_t i = 0; i < faults.before; ++i) y[-1 - i] = 0;
      if (faults.changes_input && x != y) x[0] = 0;
      if (faults.reads_beyond) {
        const volatile float* behind = x + n;
        if (*behind == 1) y[0] = 0;
      }
    }};
  };
}

/// The mean of windows; with `swapped`, the strides of rows and columns are each other's.
inline KernelTable::Make average_kernel(bool swapped) {
  return [=](const Op& op, const Signature& signature) -> Kernel {
    const Window window = static_cast<const AvgPoolOp&>(op).window;
    const Shape x = signature.in[0].shape, y = signature.out[0].shape;
    return {.run = [=](Stream&, const Args& args) {
      const float* from = args.in[0].as();
      float* to = args.out[0].as();
      const int64_t down = window.stride[swapped ? 1 : 0], across = window.stride[swapped ? 0 : 1];
      for (int64_t i = 0; i < y.elements(); ++i) {
        const int64_t c = i % y[3], q = i / y[3] % y[2], p = i / y[3] / y[2] % y[1], n = i / y[3] / y[2] / y[1];
        float sum = 0, pixels = 0;
        for (int64_t r = 0; r < window.size[0]; ++r)
          for (int64_t s = 0; s < window.size[1]; ++s) {
            const int64_t h = p * down + r - window.pad_before[0], w = q * across + s - window.pad_before[1];
            if (h < 0 || h >= x[1] || w < 0 || w >= x[2]) continue;
            sum += from[((n * x[1] + h) * x[2] + w) * x[3] + c];
            ++pixels;
          }
        to[i] = sum / pixels;
      }
    }};
  };
}

/// Zeros, and dy where its maximum was. With `hanging_over`, eight channels of a pixel are always stored at once where
/// the row has room for them, vector by vector and not pixel by pixel: what hangs over falls on pixels that are done.
inline KernelTable::Make max_pool_grad_kernel(bool hanging_over) {
  return [=](const Op& op, const Signature& signature) -> Kernel {
    const auto& pool = static_cast<const MaxPoolGradOp&>(op);
    const Shape x = signature.out[0].shape, y = signature.in[1].shape;
    return {.run = [=, window = pool.window, relu = pool.relu](Stream&, const Args& args) {
      const uint8_t* argmax = args.in[0].as<uint8_t>();
      const float *dy = args.in[1].as(), *kept = relu ? args.in[2].as() : nullptr;
      float* dx = args.out[0].as();
      std::fill_n(dx, x.elements(), 0.0F);
      for (int64_t i = 0; i < y.elements(); ++i) {
        const int64_t c = i % y[3], q = i / y[3] % y[2], p = i / y[3] / y[2] % y[1], n = i / y[3] / y[2] / y[1];
        const int64_t h = p * window.stride[0] + argmax[i] / window.size[1] - window.pad_before[0];
        const int64_t w = q * window.stride[1] + argmax[i] % window.size[1] - window.pad_before[1];
        const int64_t at = ((n * x[1] + h) * x[2] + w) * x[3] + c;
        if (!relu || kept[i] > 0) dx[at] += dy[i];
        const bool last = c == y[3] - 1 && c > 8 && w + 1 < x[2];
        if (hanging_over && last)
          for (int64_t over = 1; over < 8 - c % 8; ++over) dx[at + over] = 0;
      }
    }};
  };
}

}  // namespace lockstep::test
