// Softmax of one row, for the operator and for the loss that contains it. Pure: any thread.
#pragma once

#include <algorithm>
#include <cmath>

#include "layers/cpu/math.h"

namespace lockstep::cpu {

/// y = exp(x - max(x)) / sum(exp(x - max(x))), `classes` elements; a NaN in x makes all of y NaN. y may be x.
inline void softmax_row(const float* x, float* y, int64_t classes) {
  float top = x[0];
  for (int64_t k = 1; k < classes; ++k) top = std::max(top, x[k]);
  for_each_vec(classes, [=]<class V>(V, int64_t k) { store(y + k, exponential(load<V>(x + k) - broadcast<V>(top))); });
  double sum = 0;
  for (int64_t k = 0; k < classes; ++k) sum += double{y[k]};
  const float scale = static_cast<float>(1 / sum);
  for_each_vec(classes, [=]<class V>(V, int64_t k) { store(y + k, load<V>(y + k) * broadcast<V>(scale)); });
}

/// log(sum(exp(x))) of a row whose largest element is `top`; NaN where x holds one.
inline double log_sum_exp(const float* row, int64_t classes, float top) {
  double sum = 0;
  for_each_vec(classes, [&]<class V>(V, int64_t k) {
    float terms[width<V>];
    store(terms, exponential(load<V>(row + k) - broadcast<V>(top)));
    for (float term : terms) sum += double{term};
  });
  return std::log(sum) + double{top};
}

}  // namespace lockstep::cpu
