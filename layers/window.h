// A window that slides over the height and width of images, and the arithmetic of its padding. Any thread.
#pragma once

#include <string>

#include "core/shape.h"
#include "layers/layer.h"

namespace lockstep {

/// Sizes are {height, width}; padding is pixels before and after.
struct Window {
  Size2 size{1, 1}, stride{1, 1}, pad_before{0, 0}, pad_after{0, 0};
};

/// The window with Keras' padding for images `x` [N,H,W,C]: `same` makes ceil(H / stride) outputs and puts the odd
/// pixel after. Throws InputError where sizes or strides are below 1.
Window make_window(Size2 size, Size2 stride, Padding padding, const Shape& x);

/// [N,P,Q,C] for `x` [N,H,W,C], P = (H + before + after - size) / stride + 1. Throws InputError where the window
/// exceeds the padded image or lies in the padding alone.
Shape window_output(const Window& window, const Shape& x);

/// "2x2 stride 2x2", with " pad 0x0/1x1" where there is any.
std::string to_string(const Window& window);

}  // namespace lockstep
