// How pooling kernels walk over images: a thread a pack of channels of one pixel, the pixels of one window, the windows
// over one pixel. Device code.
#pragma once

#include "layers/base/window.h"
#include "layers/cuda/columns.cuh"

namespace lockstep::cuda {

/// Quotients of numbers below 2^31 by one divisor that is known on the host, without a division (Granlund and
/// Montgomery, "Division by invariant integers using multiplication", 1994).
class Divider {
 public:
  explicit Divider(int divisor) : divisor_(static_cast<unsigned>(divisor)) {
    while ((uint64_t{1} << shift_) < divisor_) ++shift_;
    factor_ = static_cast<unsigned>((((uint64_t{1} << shift_) - divisor_) << 32) / divisor_ + 1);
  }
  __device__ int operator()(int n) const {
    const auto from = static_cast<unsigned>(n);
    return static_cast<int>((__umulhi(from, factor_) + from) >> shift_);
  }

 private:
  unsigned divisor_, factor_ = 0, shift_ = 0;
};

/// One of the two directions of a window and of the images under it.
struct Slide {
  int size, stride, before;
  int length, outputs;  // pixels and windows in this direction
  Divider by_stride;

  /// The pixels [begin, end) of the image under window `p`.
  struct Inside {
    int first;  // where the window starts; may be negative
    int begin, end;
  };
  __device__ Inside inside(int p) const {
    const int first = p * stride - before;
    return {first, max(first, 0), min(first + size, length)};
  }

  /// The windows [begin, end) over pixel `h`.
  struct Covering {
    int begin, end;
    int place;  // h's place in window 0, were that long enough; one stride less in each further window
  };
  __device__ Covering covering(int h) const {
    const int place = h + before, too_far = place - size;
    return {too_far < 0 ? 0 : by_stride(too_far) + 1, min(by_stride(place) + 1, outputs), place};
  }
};

/// x [n, height.length, width.length, channels], y [n, height.outputs, width.outputs, channels].
struct Pooling {
  int images, channels, packs;
  Slide height, width;
  Divider by_packs;
};

inline Pooling pooling(const Window& window, const Shape& x, const Shape& y, DType dtype) {
  const auto number = [&](int64_t n) {
    // Half of what 32 bits can count: positions may lie a window beyond an image.
    if (n > INT32_MAX / 2) throw Error("images {} are too large for the pooling kernels", x.str());
    return static_cast<int>(n);
  };
  const auto slide = [&](size_t d) {
    const int i = static_cast<int>(d) + 1;
    return Slide{number(window.size[d]), number(window.stride[d]),         number(window.pad_before[d]), number(x[i]),
                 number(y[i]),           Divider(number(window.stride[d]))};
  };
  const int packs = number(x[3]) / columns_pack(dtype, x[3]);
  number(std::max(x[2], y[2]) * packs);
  return {number(x[0]), number(x[3]), packs, slide(0), slide(1), Divider(std::max(packs, 1))};
}

/// Threads for each pack of `pixels` pixels of each row of each image; none idle for long where rows are short.
inline Grid pool_grid(int64_t packs, int64_t rows, int64_t images) {
  const unsigned blocks = blocks_for(packs);
  const auto each = static_cast<unsigned>((packs + blocks - 1) / blocks);
  constexpr int64_t most = 65535;
  return {dim3(blocks, static_cast<unsigned>(std::min(rows, most)), static_cast<unsigned>(std::min(images, most))),
          (each + 31) / 32 * 32};
}

/// body(image, row, pixel, first channel) for this thread's pack in rows of `pixels` pixels.
template <int Size, class Body>
__device__ inline void each_pixel(const Pooling& s, int rows, int pixels, Body body) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= pixels * s.packs) return;
  const int pixel = s.by_packs(i), c = (i - pixel * s.packs) * Size;
  for (int image = static_cast<int>(blockIdx.z); image < s.images; image += static_cast<int>(gridDim.z))
    for (int row = static_cast<int>(blockIdx.y); row < rows; row += static_cast<int>(gridDim.y))
      body(image, row, pixel, c);
}

/// Where channel `c` of a pixel lies in x and in y.
__device__ inline int64_t place_in_x(const Pooling& s, int image, int row, int column, int c) {
  return ((int64_t{image} * s.height.length + row) * s.width.length + column) * s.channels + c;
}
__device__ inline int64_t place_in_y(const Pooling& s, int image, int p, int q, int c) {
  return ((int64_t{image} * s.height.outputs + p) * s.width.outputs + q) * s.channels + c;
}

}  // namespace lockstep::cuda
