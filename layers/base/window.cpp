#include "layers/base/window.h"

#include <algorithm>

#include "core/error.h"

namespace lockstep {

namespace {

std::string by(Size2 size) { return fmt::format("{}x{}", size[0], size[1]); }

}  // namespace

Interval under(const Window& window, int dim, Interval seen, int64_t size) {
  const auto d = static_cast<size_t>(dim - 1);
  return {std::max<int64_t>(seen.begin * window.stride[d] - window.pad_before[d], 0),
          std::min((seen.end - 1) * window.stride[d] - window.pad_before[d] + window.extent(d), size)};
}

Window over(const Window& window, int dim, Interval seen, Interval part) {
  const auto d = static_cast<size_t>(dim - 1);
  Window local = window;
  const int64_t first = seen.begin * window.stride[d] - window.pad_before[d];
  local.pad_before[d] = part.begin - first;
  local.pad_after[d] = first + (seen.size() - 1) * window.stride[d] + window.extent(d) - part.end;
  return local;
}

Window make_window(Size2 size, Size2 stride, Padding padding, const Shape& x, Size2 dilation) {
  if (size[0] < 1 || size[1] < 1 || stride[0] < 1 || stride[1] < 1)
    throw InputError("window {} with strides {}: expected at least 1x1 for both", by(size), by(stride));
  if (dilation[0] < 1 || dilation[1] < 1)
    throw InputError("window {} with dilation {}: expected at least 1x1", by(size), by(dilation));
  Window window{.size = size, .stride = stride, .dilation = dilation};
  if (padding == Padding::valid) return window;
  if (padding.kind == Padding::Kind::pixels) {
    window.pad_before = {padding.rows[0], padding.columns[0]};
    window.pad_after = {padding.rows[1], padding.columns[1]};
    return window;
  }
  for (size_t d = 0; d < 2; ++d) {
    const int64_t length = x[static_cast<int>(d) + 1];
    const int64_t outputs = (length + stride[d] - 1) / stride[d];
    const int64_t total = std::max<int64_t>((outputs - 1) * stride[d] + window.extent(d) - length, 0);
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
    const int64_t room = x[i] + before + after - window.extent(d);
    if (room < 0)
      throw InputError("window {} exceeds its input {} (padding {} before, {} after)", by(window.size), x.str(),
                       by(window.pad_before), by(window.pad_after));
    if (before < 0 || after < 0 || before >= window.extent(d) || after >= window.extent(d))
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
  if (window.dilation != Size2{1, 1}) text += fmt::format(" dilation {}", by(window.dilation));
  return text;
}

}  // namespace lockstep
