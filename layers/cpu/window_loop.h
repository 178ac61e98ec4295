// How pooling kernels walk over windows: the pixels of one window that lie inside the image. Any thread.
#pragma once

#include <algorithm>

#include "layers/window.h"

namespace lockstep::cpu {

/// Rows (d = 0) or columns (d = 1) [begin, end) of the window of output `p` that lie inside an image of `length`.
struct Inside {
  int64_t first;  // where the window starts in the image; may be negative
  int64_t begin, end;
};
inline Inside inside(const Window& window, size_t d, int64_t p, int64_t length) {
  const int64_t first = p * window.stride[d] - window.pad_before[d];
  return {first, std::max<int64_t>(-first, 0), std::min(window.size[d], length - first)};
}

}  // namespace lockstep::cpu
