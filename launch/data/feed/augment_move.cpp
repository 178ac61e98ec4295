#include <algorithm>
#include <cmath>

#include "launch/data/feed/augment.h"

namespace lockstep::detail {

namespace {

/// A row's pixels by whole columns: copied in one piece, or backwards; the outermost repeat.
void move_row(const float* row, int64_t width, int64_t channels, bool mirrored, int64_t right, float* out) {
  if (!mirrored) {
    const int64_t first = std::clamp<int64_t>(-right, 0, width), last = std::clamp<int64_t>(width - right, 0, width);
    for (int64_t x = 0; x < first; ++x) out = std::copy_n(row, channels, out);
    if (last > first) out = std::copy_n(row + (first + right) * channels, (last - first) * channels, out);
    for (int64_t x = std::max(first, last); x < width; ++x)
      out = std::copy_n(row + (width - 1) * channels, channels, out);
    return;
  }
  for (int64_t x = 0; x < width; ++x) {
    const int64_t column = std::clamp<int64_t>(width - 1 - x + right, 0, width - 1);
    for (int64_t c = 0; c < channels; ++c) *out++ = row[column * channels + c];
  }
}

}  // namespace

void move_pixels(const Place& place, std::span<const float> from, const Shape& shape, float* out) {
  const int64_t height = shape[0], width = shape[1], channels = shape[2];
  const auto down = static_cast<int64_t>(place.down), right = static_cast<int64_t>(place.right);
  for (int64_t y = 0; y < height; ++y) {
    const int64_t row = std::clamp<int64_t>((place.matrix[0][0] < 0 ? height - 1 - y : y) + down, 0, height - 1);
    move_row(from.data() + row * width * channels, width, channels, place.matrix[1][1] < 0, right, out);
    out += width * channels;
  }
}

void resample(const Place& place, std::span<const float> from, const Shape& shape, float* out) {
  const int64_t height = shape[0], width = shape[1], channels = shape[2];
  const double middle_y = static_cast<double>(height - 1) / 2, middle_x = static_cast<double>(width - 1) / 2;
  const auto& m = place.matrix;
  for (int64_t y = 0; y < height; ++y) {
    const double v = static_cast<double>(y) - middle_y;
    const double row_of_v = m[0][0] * v, column_of_v = m[1][0] * v;
    for (int64_t x = 0; x < width; ++x) {
      const double u = static_cast<double>(x) - middle_x;
      const double row = row_of_v + m[0][1] * u + middle_y + place.down;
      const double column = column_of_v + m[1][1] * u + middle_x + place.right;
      const double row_floor = std::floor(row), column_floor = std::floor(column);
      const auto low = static_cast<float>(row - row_floor), far = static_cast<float>(column - column_floor);
      const auto top = static_cast<int64_t>(row_floor), left = static_cast<int64_t>(column_floor);
      const float* above = from.data() + std::clamp<int64_t>(top, 0, height - 1) * width * channels;
      const float* below = from.data() + std::clamp<int64_t>(top + 1, 0, height - 1) * width * channels;
      const int64_t near_at = std::clamp<int64_t>(left, 0, width - 1) * channels;
      const int64_t far_at = std::clamp<int64_t>(left + 1, 0, width - 1) * channels;
      for (int64_t c = 0; c < channels; ++c) {
        const float upper = above[near_at + c] * (1 - far) + above[far_at + c] * far;
        const float lower = below[near_at + c] * (1 - far) + below[far_at + c] * far;
        *out++ = upper * (1 - low) + lower * low;
      }
    }
  }
}

}  // namespace lockstep::detail
