#include "layers/window.h"

#include <algorithm>

#include "core/error.h"

namespace lockstep {

namespace {

std::string by(Size2 size) { return fmt::format("{}x{}", size[0], size[1]); }

}  // namespace

Window make_window(Size2 size, Size2 stride, Padding padding, const Shape& x) {
  if (size[0] < 1 || size[1] < 1 || stride[0] < 1 || stride[1] < 1)
    throw InputError("window {} with strides {}: expected at least 1x1 for both", by(size), by(stride));
  Window window{size, stride};
  if (padding == Padding::valid) return window;
  for (size_t d = 0; d < 2; ++d) {
    const int64_t length = x[static_cast<int>(d) + 1];
    const int64_t outputs = (length + stride[d] - 1) / stride[d];
    const int64_t total = std::max<int64_t>((outputs - 1) * stride[d] + size[d] - length, 0);
    window.pad_before[d] = total / 2;
    window.pad_after[d] = total - total / 2;
  }
  return window;
}

Shape window_output(const Window& window, const Shape& x) {
  Shape y = x;
  for (size_t d = 0; d < 2; ++d) {
    const int i = static_cast<int>(d) + 1;
    const int64_t before = window.pad_before[d], after = window.pad_after[d];
    const int64_t room = x[i] + before + after - window.size[d];
    if (room < 0)
      throw InputError("window {} exceeds its input {} (padding {} before, {} after)", by(window.size), x.str(),
                       by(window.pad_before), by(window.pad_after));
    if (before < 0 || after < 0 || before >= window.size[d] || after >= window.size[d])
      throw InputError("padding {} before and {} after: expected less than the window {}", by(window.pad_before),
                       by(window.pad_after), by(window.size));
    y[i] = room / window.stride[d] + 1;
  }
  return y;
}

std::string to_string(const Window& window) {
  std::string text = fmt::format("{} stride {}", by(window.size), by(window.stride));
  const Size2 none{0, 0};
  if (window.pad_before != none || window.pad_after != none)
    text += fmt::format(" pad {}/{}", by(window.pad_before), by(window.pad_after));
  return text;
}

}  // namespace lockstep
