// max(x, 0) over an array, for the kernels that end in it. Any thread; uses the calling thread's OpenMP threads.
#pragma once

#include "layers/cpu/parallel.h"
#include "layers/cpu/vec.h"

namespace lockstep::cpu {

/// y[i] = max(x[i], 0), n elements; NaN stays NaN. y may be x.
inline void relu(const float* x, float* y, int64_t n) {
  parallel_for(n, 8, [=](int64_t begin, int64_t end) {
    for_each_vec(end - begin, [=]<class V>(V, int64_t i) { store(y + begin + i, relu(load<V>(x + begin + i))); });
  });
}

}  // namespace lockstep::cpu
