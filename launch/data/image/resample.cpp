#include "launch/data/image/resample.h"

#include <algorithm>
#include <cmath>

namespace lockstep {

namespace {

constexpr int precision = 22;  // bits; 8 of a pixel's value are above them, 2 are spare

/// The pixels that one output pixel is made of.
struct Taps {
  int64_t first = 0, count = 0;
  const int32_t* weights = nullptr;
};

struct Filter {
  std::vector<Taps> taps;  // one an output pixel
  std::vector<int32_t> weights;
};

Filter make_filter(int64_t in, double begin, double length, int64_t out) {
  const double scale = length / static_cast<double>(out);
  const double reach = std::max(scale, 1.0);
  const auto most = static_cast<size_t>(std::ceil(reach)) * 2 + 1;
  Filter filter;
  filter.taps.resize(static_cast<size_t>(out));
  filter.weights.resize(most * static_cast<size_t>(out));
  std::vector<double> weights(most);
  int32_t* fixed = filter.weights.data();
  for (int64_t i = 0; i < out; ++i) {
    const double centre = begin + (static_cast<double>(i) + 0.5) * scale;
    const auto first = std::max<int64_t>(static_cast<int64_t>(centre - reach + 0.5), 0);
    const auto last = std::min<int64_t>(static_cast<int64_t>(centre + reach + 0.5), in);
    const auto count = static_cast<size_t>(last - first);
    double sum = 0;
    for (size_t k = 0; k < count; ++k) {
      const double distance = std::abs((static_cast<double>(first + static_cast<int64_t>(k)) - centre + 0.5) / reach);
      sum += weights[k] = std::max(1 - distance, 0.0);
    }
    for (size_t k = 0; k < count; ++k)
      fixed[k] = static_cast<int32_t>(0.5 + weights[k] / sum * static_cast<double>(1 << precision));
    filter.taps[static_cast<size_t>(i)] = {first, last - first, fixed};
    fixed += most;
  }
  return filter;
}

uint8_t to_byte(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> precision, 0, 255)); }

template <int Channels>
void stretch_row(const uint8_t* from, const Filter& filter, uint8_t* to) {
  for (const Taps& taps : filter.taps) {
    int32_t sums[Channels];
    std::fill_n(sums, Channels, 1 << (precision - 1));
    const uint8_t* pixel = from + taps.first * Channels;
    for (int64_t k = 0; k < taps.count; ++k, pixel += Channels)
      for (int c = 0; c < Channels; ++c) sums[c] += pixel[c] * taps.weights[k];
    for (int c = 0; c < Channels; ++c) *to++ = to_byte(sums[c]);
  }
}

}  // namespace

void resample(const Image& image, const Crop& box, int64_t height, int64_t width, std::span<uint8_t> to) {
  if (image.channels != 1 && image.channels != 3) throw Error("resampling of {} channels", image.channels);
  const auto inside = [](double begin, double length, int64_t size) {
    constexpr double rounding = 1e-6;
    return begin >= -rounding && length > 0 && begin + length <= static_cast<double>(size) + rounding;
  };
  if (!inside(box.top, box.height, image.height) || !inside(box.left, box.width, image.width))
    throw Error("a part of {}x{} from row {} and column {} on of an image of {}x{}", box.height, box.width, box.top,
                box.left, image.height, image.width);
  // Pillow takes edges in single precision: where weights make ties, they must round alike.
  const auto single = [](int64_t in, double begin, double length, int64_t out) {
    const auto first = static_cast<float>(begin), last = static_cast<float>(begin + length);
    return make_filter(in, first, last - first, out);
  };
  const Filter columns = single(image.width, box.left, box.width, width);
  const Filter rows = single(image.height, box.top, box.height, height);
  const auto row_bytes = static_cast<size_t>(width * image.channels);
  // Only the rows that are read below are stretched.
  const int64_t first = rows.taps.front().first, last = rows.taps.back().first + rows.taps.back().count;
  std::vector<uint8_t> wide(static_cast<size_t>(last - first) * row_bytes);
  for (int64_t y = first; y < last; ++y) {
    const uint8_t* from = image.pixels.data() + y * image.width * image.channels;
    uint8_t* row = wide.data() + static_cast<size_t>(y - first) * row_bytes;
    image.channels == 3 ? stretch_row<3>(from, columns, row) : stretch_row<1>(from, columns, row);
  }
  std::vector<int32_t> sums(row_bytes);
  uint8_t* out = to.data();
  for (const Taps& taps : rows.taps) {
    std::ranges::fill(sums, 1 << (precision - 1));
    for (int64_t k = 0; k < taps.count; ++k) {
      const uint8_t* row = wide.data() + static_cast<size_t>(taps.first + k - first) * row_bytes;
      const int32_t weight = taps.weights[k];
      for (size_t x = 0; x < row_bytes; ++x) sums[x] += row[x] * weight;
    }
    for (size_t x = 0; x < row_bytes; ++x) *out++ = to_byte(sums[x]);
  }
}

Crop reduced_part(const Image& image, const Crop& part) {
  const double by = image.reduced;
  return {(part.top + static_cast<double>(image.before.height)) / by,
          (part.left + static_cast<double>(image.before.width)) / by, part.height / by, part.width / by};
}

Crop central_crop(ImageSize size, int64_t height, int64_t width, int64_t shorter) {
  const auto in_height = static_cast<double>(size.height), in_width = static_cast<double>(size.width);
  const double covering = std::max(static_cast<double>(height) / in_height, static_cast<double>(width) / in_width);
  const double scale = std::max(covering, static_cast<double>(shorter) / std::min(in_height, in_width));
  // Rounding must not put an edge outside.
  const double box_height = std::min(static_cast<double>(height) / scale, in_height);
  const double box_width = std::min(static_cast<double>(width) / scale, in_width);
  return {(in_height - box_height) / 2, (in_width - box_width) / 2, box_height, box_width};
}

}  // namespace lockstep
