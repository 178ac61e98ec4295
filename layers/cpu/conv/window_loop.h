// How pooling kernels walk over images: the pixels of one window, and the windows over one pixel. Any thread.
#pragma once

#include <algorithm>

#include "layers/base/window.h"

namespace lockstep::cpu {

/// What a pooling kernel is made for: x [n,h,w,c], y [n,p,q,c].
struct PoolSizes {
  Window window;
  int64_t n, h, w, p, q, c;
};
inline PoolSizes pool_sizes(const Window& window, const Shape& x, const Shape& y) {
  return {window, x[0], x[1], x[2], y[1], y[2], x[3]};
}

/// Rows (d = 0) or columns (d = 1) [begin, end) of the window of output `p` that lie inside an image of `length`.
struct Inside {
  int64_t first;  // where the window starts in the image; may be negative
  int64_t begin, end;
};
inline Inside inside(const Window& window, size_t d, int64_t p, int64_t length) {
  const int64_t first = p * window.stride[d] - window.pad_before[d];
  return {first, std::max<int64_t>(-first, 0), std::min(window.size[d], length - first)};
}

/// The windows [begin, end) of `outputs` along rows (d = 0) or columns (d = 1) that cover pixel `h`.
struct Covering {
  int64_t begin, end;
  int64_t place;  // h's place in window 0, where that were long enough; one stride less in each further window
};
inline Covering covering(const Window& window, size_t d, int64_t h, int64_t outputs) {
  const int64_t stride = window.stride[d], place = h + window.pad_before[d];
  const int64_t before = place - window.size[d];  // the last place that is too far ahead of h
  return {before < 0 ? 0 : before / stride + 1, std::min(place / stride + 1, outputs), place};
}

}  // namespace lockstep::cpu
