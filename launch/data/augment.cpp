#include "launch/data/augment.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <set>

#include "core/error.h"
#include "core/random.h"

namespace lockstep {

namespace {

/// Where an output pixel comes from: matrix * (pixel - middle) + middle + shift, rows and columns.
struct Place {
  double down = 0, right = 0;
  double cosine = 1, sine = 0;  // of the angle, divided by the zoom
  bool mirrored = false;
};

/// Pixels that lie between others are not needed: rows are copied pixel by pixel.
void shift(const Place& place, std::span<const float> from, const Shape& shape, float* out) {
  const int64_t height = shape[0], width = shape[1], channels = shape[2];
  const auto down = static_cast<int64_t>(place.down), right = static_cast<int64_t>(place.right);
  for (int64_t y = 0; y < height; ++y) {
    const float* row = from.data() + std::clamp<int64_t>(y + down, 0, height - 1) * width * channels;
    for (int64_t x = 0; x < width; ++x) {
      const int64_t column = std::clamp<int64_t>((place.mirrored ? width - 1 - x : x) + right, 0, width - 1);
      out = std::copy_n(row + column * channels, channels, out);
    }
  }
}

void resample(const Place& place, std::span<const float> from, const Shape& shape, float* out) {
  const int64_t height = shape[0], width = shape[1], channels = shape[2];
  const double middle_y = static_cast<double>(height - 1) / 2, middle_x = static_cast<double>(width - 1) / 2;
  const auto pixel = [&](int64_t y, int64_t x) {
    return from.data() +
           (std::clamp<int64_t>(y, 0, height - 1) * width + std::clamp<int64_t>(x, 0, width - 1)) * channels;
  };
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x) {
      const double v = static_cast<double>(y) - middle_y;
      const double u = (static_cast<double>(x) - middle_x) * (place.mirrored ? -1 : 1);
      const double row = place.cosine * v - place.sine * u + middle_y + place.down;
      const double column = place.sine * v + place.cosine * u + middle_x + place.right;
      const auto top = static_cast<int64_t>(std::floor(row)), left = static_cast<int64_t>(std::floor(column));
      const auto low = static_cast<float>(row - static_cast<double>(top));
      const auto far = static_cast<float>(column - static_cast<double>(left));
      const float* corners[] = {pixel(top, left), pixel(top, left + 1), pixel(top + 1, left), pixel(top + 1, left + 1)};
      for (int64_t c = 0; c < channels; ++c) {
        const float above = corners[0][c] * (1 - far) + corners[1][c] * far;
        const float below = corners[2][c] * (1 - far) + corners[3][c] * far;
        *out++ = above * (1 - low) + below * low;
      }
    }
}

}  // namespace

Augmentation Augmentation::parse(const std::string& text) {
  Augmentation result;
  if (text == "none") return result;
  std::set<std::string_view> seen;
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    const std::string_view part = std::string_view(text).substr(at, comma - at);
    at = comma + 1;
    const size_t colon = std::min(part.find(':'), part.size());
    const std::string_view name = part.substr(0, colon);
    const std::string_view number = part.substr(std::min(colon + 1, part.size()));
    const auto read = [&](auto& value, auto most) {
      const auto [stopped, error] = std::from_chars(number.data(), number.data() + number.size(), value);
      return error == std::errc{} && stopped == number.data() + number.size() && value > 0 && value <= most;
    };
    bool good = seen.insert(name).second;
    if (name == "flip") {
      good = good && name == part;
      result.flip = true;
    } else if (name == "crop") {
      good = good && read(result.crop, int64_t{1} << 20);
    } else if (name == "rotate") {
      good = good && read(result.rotate, 180.0F);
    } else if (name == "zoom") {
      good = good && read(result.zoom, 90.0F);
      result.zoom /= 100;
    } else {
      good = false;
    }
    if (!good)
      throw InputError(
          "augmentation '{}', expected none, or some of crop:PIXELS,flip,rotate:DEGREES,zoom:PERCENT "
          "(up to 180 degrees and 90 percent)",
          text);
  }
  return result;
}

void Augmentation::apply(std::span<float> image, const Shape& shape, uint64_t seed, int64_t epoch, int64_t sample,
                         std::vector<float>& scratch) const {
  const Random random(seed, Purpose::Augment, 0, static_cast<uint64_t>(epoch));
  const auto shifts = random.bits(static_cast<uint64_t>(sample), 0);
  const auto pixels = [&](uint32_t bits) {  // a whole number, uniform over -crop … crop
    return static_cast<double>(static_cast<int64_t>((uint64_t{bits} * static_cast<uint64_t>(2 * crop + 1)) >> 32) -
                               crop);
  };
  Place place{.down = pixels(shifts[0]), .right = pixels(shifts[1]), .mirrored = flip && (shifts[2] >> 31) != 0};
  scratch.assign(image.begin(), image.end());
  if (!resamples()) return lockstep::shift(place, scratch, shape, image.data());

  const auto turns = random.bits(static_cast<uint64_t>(sample), 1);
  const auto both_ways = [](uint32_t bits) { return 2 * double{to_uniform(bits)} - 1; };
  const double angle = rotate * both_ways(turns[0]) * std::numbers::pi / 180;
  const double size = 1 + zoom * both_ways(turns[1]);
  place.cosine = std::cos(angle) / size;
  place.sine = std::sin(angle) / size;
  resample(place, scratch, shape, image.data());
}

}  // namespace lockstep
