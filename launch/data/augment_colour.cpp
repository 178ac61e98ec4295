#include <algorithm>
#include <cmath>

#include "launch/data/augment.h"
#include "launch/data/normalise.h"

namespace lockstep::detail {

namespace {

struct Matrix {
  double at[3][3];
};

/// Rotation about (1, 1, 1) (Rodrigues' formula) after mixing with the luma of ITU-R BT.601.
Matrix colour_matrix(double saturation, double hue) {
  constexpr double luma[3] = {0.299, 0.587, 0.114};
  const double c = std::cos(hue), even = (1 - c) / 3, odd = std::sin(hue) / std::sqrt(3.0);
  const double turn[3][3] = {
      {c + even, even - odd, even + odd}, {even + odd, c + even, even - odd}, {even - odd, even + odd, c + even}};
  Matrix result{};
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 3; ++k)
        result.at[i][j] += turn[i][k] * ((k == j ? saturation : 0) + (1 - saturation) * luma[j]);
  return result;
}

/// x = scale * x + offset of each channel, cut to black and white in the values' own terms.
struct Line {
  float scale = 1, offset = 0, black = 0, white = 1;
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

}  // namespace

void change_colours(const ColourChange& change, std::span<float> image, const Shape& shape,
                    const Normalisation* normalisation) {
  const auto channels = static_cast<size_t>(shape[2]);
  const std::vector<double> middles = change.contrast != 1 ? means(image, shape) : std::vector<double>(channels);
  std::vector<Line> lines(channels);
  for (size_t c = 0; c < channels; ++c) {
    const float mean = normalisation ? normalisation->mean[c] : 0, std = normalisation ? normalisation->std[c] : 1;
    // A normalised image keeps its contrast's middle; what is added to all values is divided as they were.
    lines[c] = {
        .scale = change.contrast,
        .offset = static_cast<float>(middles[c] * (1 - double{change.contrast}) + double{change.brightness} / std),
        .black = (0 - mean) / std,
        .white = (1 - mean) / std};
  }
  if (channels != 3 || (change.saturation == 1 && change.hue == 0)) return apply_lines(lines, image, shape);
  // matrix * (line(x) * std + mean), normalised again, is one matrix and one offset a channel.
  const Matrix colours = colour_matrix(change.saturation, change.hue);
  float matrix[3][3], offset[3];
  for (size_t i = 0; i < 3; ++i) {
    const double std_i = normalisation ? normalisation->std[i] : 1, mean_i = normalisation ? normalisation->mean[i] : 0;
    double sum = -mean_i;
    for (size_t j = 0; j < 3; ++j) {
      const double std_j = normalisation ? normalisation->std[j] : 1,
                   mean_j = normalisation ? normalisation->mean[j] : 0;
      matrix[i][j] = static_cast<float>(colours.at[i][j] * lines[j].scale * std_j / std_i);
      sum += colours.at[i][j] * (lines[j].offset * std_j + mean_j);
    }
    offset[i] = static_cast<float>(sum / std_i);
  }
  for (size_t i = 0; i < image.size(); i += 3) {
    const float red = image[i], green = image[i + 1], blue = image[i + 2];
    for (size_t c = 0; c < 3; ++c)
      image[i + c] = std::clamp(matrix[c][0] * red + matrix[c][1] * green + matrix[c][2] * blue + offset[c],
                                lines[c].black, lines[c].white);
  }
}

}  // namespace lockstep::detail
