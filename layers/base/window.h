// A window that slides over the height and width of images, and the arithmetic of its padding. Any thread.
#pragma once

#include <string>

#include "core/graph/placement.h"
#include "core/shape.h"
#include "layers/base/layer.h"

namespace lockstep {

/// Sizes are {height, width}; padding is pixels before and after; with a dilation of d, a window looks at every d-th
/// pixel.
struct Window {
  Size2 size{1, 1}, stride{1, 1}, pad_before{0, 0}, pad_after{0, 0}, dilation{1, 1};

  /// Pixels from its first to its last, along rows (d = 0) or columns (d = 1).
  int64_t extent(size_t d) const { return (size[d] - 1) * dilation[d] + 1; }
};

/// The pixels along `dim` (1: rows, 2: columns), of `size`, that lie under the windows of the outputs `seen`.
Interval under(const Window& window, int dim, Interval seen, int64_t size);
/// The same window over the pixels `part` of that dimension alone, for the outputs `seen`: where these end the image
/// may go on, so there is less padding.
Window over(const Window& window, int dim, Interval seen, Interval part);

/// The window with this padding for images `x` [N,H,W,C]; Keras' `same` makes ceil(H / stride) outputs and puts the odd
/// pixel after. Throws InputError where sizes or strides are below 1.
Window make_window(Size2 size, Size2 stride, Padding padding, const Shape& x, Size2 dilation = {1, 1});

/// [N,P,Q,C] for `x` [N,H,W,C], P = (H + before + after - extent) / stride + 1. Throws InputError where the window
/// exceeds the padded image or lies in the padding alone.
Shape window_output(const Window& window, const Shape& x);

/// "2x2 stride 2x2", with " pad 0x0/1x1" and " dilation 2x2" where there is any.
std::string to_string(const Window& window);

}  // namespace lockstep
