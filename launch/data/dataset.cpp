#include "launch/data/dataset.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace lockstep {

void Dataset::read_target(int64_t, std::span<std::byte>) const {
  throw Error("a data set whose targets are {} does not read them", target().str());
}

int32_t Dataset::label(int64_t index) const {
  std::vector<float> image(static_cast<size_t>(image_shape().elements()));
  return read(index, image);
}

int32_t Dataset::read_crop(int64_t index, const ChooseCrop& choose, std::span<float> image) const {
  const Shape shape = image_shape();
  const int64_t height = shape[0], width = shape[1], channels = shape[2];
  std::vector<float> whole(image.size());
  const int32_t label = read(index, whole);
  const Crop box = choose(height, width);
  // A part is never larger than the whole, so that nothing shrinks and two pixels each way are enough.
  const auto place = [](double begin, double length, int64_t i, int64_t size) {
    const double at = begin + (static_cast<double>(i) + 0.5) * length / static_cast<double>(size) - 0.5;
    return std::clamp(at, 0.0, static_cast<double>(size - 1));
  };
  float* to = image.data();
  for (int64_t y = 0; y < height; ++y) {
    const double row = place(box.top, box.height, y, height);
    const auto top = static_cast<int64_t>(row);
    const auto low = static_cast<float>(row - static_cast<double>(top));
    const float* above = whole.data() + top * width * channels;
    const float* below = whole.data() + std::min(top + 1, height - 1) * width * channels;
    for (int64_t x = 0; x < width; ++x) {
      const double column = place(box.left, box.width, x, width);
      const auto left = static_cast<int64_t>(column);
      const auto far = static_cast<float>(column - static_cast<double>(left));
      const int64_t near_at = left * channels, far_at = std::min(left + 1, width - 1) * channels;
      for (int64_t c = 0; c < channels; ++c) {
        const float upper = above[near_at + c] * (1 - far) + above[far_at + c] * far;
        const float lower = below[near_at + c] * (1 - far) + below[far_at + c] * far;
        *to++ = upper * (1 - low) + lower * low;
      }
    }
  }
  return label;
}

ValueRange measured_range(const Dataset& set) {
  constexpr float none = std::numeric_limits<float>::quiet_NaN();
  ValueRange range;
  std::vector<float> image(static_cast<size_t>(set.image_shape().elements()));
  for (int64_t i = 0; i < set.size(); ++i) {
    set.read(i, image);
    if (!std::ranges::all_of(image, [](float value) { return std::isfinite(value); })) return {none, none};
    const auto [least, most] = std::ranges::minmax(image);
    range = {std::min(range.black, least), std::max(range.white, most)};
  }
  return range;
}

}  // namespace lockstep
