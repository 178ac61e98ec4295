#include <algorithm>
#include <array>
#include <cmath>

#include "launch/data/feed/augment.h"
#include "launch/data/normalise.h"

namespace lockstep::detail {

namespace {

/// x = scale * x + offset of each channel, cut to black and white in the values' own terms.
struct Line {
  float scale = 1, offset = 0, black = 0, white = 1;

  float operator()(float value) const { return std::min(std::max(value * scale + offset, black), white); }
};

/// The mean of each channel. Summed by columns first, which are many: each sum waits for the one before.
std::vector<double> means(std::span<const float> image, const Shape& shape) {
  const auto channels = static_cast<size_t>(shape[2]), row = static_cast<size_t>(shape[1]) * channels;
  std::vector<double> columns(row), result(channels);
  for (size_t start = 0; start < image.size(); start += row)
    for (size_t x = 0; x < row; ++x) columns[x] += image[start + x];
  for (size_t x = 0; x < row; ++x) result[x % channels] += columns[x];
  for (double& sum : result) sum /= static_cast<double>(image.size() / channels);
  return result;
}

/// Lines repeat along a row, so that the loop over pixels is one over plain arrays whatever the number of channels.
void apply_lines(const std::vector<Line>& lines, std::span<float> image, const Shape& shape) {
  const auto row = static_cast<size_t>(shape[1] * shape[2]);
  std::vector<float> scale(row), offset(row), black(row), white(row);
  for (size_t x = 0; x < row; ++x) {
    const Line& line = lines[x % lines.size()];
    scale[x] = line.scale;
    offset[x] = line.offset;
    black[x] = line.black;
    white[x] = line.white;
  }
  for (size_t start = 0; start < image.size(); start += row)
    for (size_t x = 0; x < row; ++x) {
      float& value = image[start + x];
      value = std::min(std::max(value * scale[x] + offset[x], black[x]), white[x]);
    }
}

/// A colour's three values, each from 0 to 1.
using Colour = std::array<float, 3>;

void saturate(Colour& colour, float by) {
  const float grey = 0.299F * colour[0] + 0.587F * colour[1] + 0.114F * colour[2];
  for (float& value : colour) value = std::clamp((value - grey) * by + grey, 0.0F, 1.0F);
}

/// Value and saturation of HSV stay as they are (Smith, "Color gamut transform pairs", SIGGRAPH 1978).
void turn_hue(Colour& colour, float degrees) {
  const auto [red, green, blue] = colour;
  const float most = std::max({red, green, blue}), chroma = most - std::min({red, green, blue});
  if (!(chroma > 0)) return;  // grey has no hue
  // The hue in sixths of the circle, from red over green and blue.
  float hue = most == red     ? (green - blue) / chroma
              : most == green ? (blue - red) / chroma + 2
                              : (red - green) / chroma + 4;
  hue += degrees / 60;
  constexpr Colour after{5, 3, 1};
  for (size_t c = 0; c < 3; ++c) {
    float place = hue + after[c];
    place -= 6 * std::floor(place / 6);
    colour[c] = most - chroma * std::clamp(std::min(place, 4 - place), 0.0F, 1.0F);
  }
}

}  // namespace

void change_colours(const ColourChange& change, std::span<float> image, const Shape& shape,
                    const Normalisation* normalisation, const ValueRange& range) {
  const auto channels = static_cast<size_t>(shape[2]);
  const std::vector<double> middles = change.contrast != 1 ? means(image, shape) : std::vector<double>(channels);
  std::vector<Line> lines(channels);
  for (size_t c = 0; c < channels; ++c) {
    const double mean = normalisation ? normalisation->mean[c] : 0, std = normalisation ? normalisation->std[c] : 1;
    const double black = (range.black - mean) / std, white = (range.white - mean) / std;
    // A normalised image keeps its contrast's middle; what is added to all values is divided as they were.
    lines[c] = {.scale = change.contrast,
                .offset = static_cast<float>(middles[c] * (1 - double{change.contrast}) +
                                             double{change.brightness} * (white - black)),
                .black = static_cast<float>(black),
                .white = static_cast<float>(white)};
  }
  if (channels != 3 || (change.saturation == 1 && change.hue == 0)) return apply_lines(lines, image, shape);
  for (size_t i = 0; i < image.size(); i += 3) {
    Colour colour;
    for (size_t c = 0; c < 3; ++c)
      colour[c] = (lines[c](image[i + c]) - lines[c].black) / (lines[c].white - lines[c].black);
    if (change.saturation != 1) saturate(colour, change.saturation);
    if (change.hue != 0) turn_hue(colour, change.hue);
    for (size_t c = 0; c < 3; ++c) image[i + c] = lines[c].black + colour[c] * (lines[c].white - lines[c].black);
  }
}

}  // namespace lockstep::detail
