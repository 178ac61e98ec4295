#include "launch/data/feed/augment.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"
#include "core/random.h"

namespace lockstep {

namespace {

/// Which numbers of a sample are for what: each block is four of them.
enum Block : uint64_t {
  shifts = 0,
  turns = 1,
  translations = 2,
  colouring = 3,
  squares = 4,
  erasing = 16,
  cropping = 32
};

double both_ways(uint32_t bits) { return 2 * double{to_uniform(bits)} - 1; }

/// A whole number, uniform over 0 … count - 1.
int64_t pick(uint32_t bits, int64_t count) {
  return static_cast<int64_t>((uint64_t{bits} * static_cast<uint64_t>(count)) >> 32);
}

struct Rectangle {
  int64_t top = 0, left = 0, height = 0, width = 0;
};

/// A rectangle of a share of the area and a ratio of width to height, uniform and log-uniform in their ranges,
/// anywhere inside; the first of ten that fits (as torchvision chooses them).
struct Range {
  double least_share, most_share, widest;
};
std::optional<Rectangle> random_rectangle(const Random& random, uint64_t sample, uint64_t block, int64_t height,
                                          int64_t width, const Range& range) {
  for (uint64_t tried = 0; tried < 10; ++tried) {
    const auto bits = random.bits(sample, block + tried);
    const double share = range.least_share + (range.most_share - range.least_share) * double{to_uniform(bits[0])};
    const double area = share * static_cast<double>(height) * static_cast<double>(width);
    const double ratio = std::exp(std::log(range.widest) * both_ways(bits[1]));
    const auto h = static_cast<int64_t>(std::lround(std::sqrt(area / ratio)));
    const auto w = static_cast<int64_t>(std::lround(std::sqrt(area * ratio)));
    if (h < 1 || w < 1 || h > height || w > width) continue;
    return Rectangle{pick(bits[2], height - h + 1), pick(bits[3], width - w + 1), h, w};
  }
  return std::nullopt;
}

void blacken(std::span<float> image, const Shape& shape, const Rectangle& where) {
  const int64_t width = shape[1], channels = shape[2];
  for (int64_t y = where.top; y < where.top + where.height; ++y)
    std::fill_n(image.data() + (y * width + where.left) * channels, where.width * channels, 0.0F);
}

/// The part of a square about a pixel that lies inside.
Rectangle square(uint32_t row_bits, uint32_t column_bits, int64_t side, const Shape& shape) {
  const auto cut = [&](uint32_t bits, int64_t size) {
    const int64_t begin = pick(bits, size) - side / 2;
    return std::pair(std::max<int64_t>(begin, 0), std::min(begin + side, size));
  };
  const auto [top, bottom] = cut(row_bits, shape[0]);
  const auto [left, right] = cut(column_bits, shape[1]);
  return {top, left, bottom - top, right - left};
}

Random random_of(uint64_t seed, int64_t epoch) { return {seed, Purpose::augment, 0, static_cast<uint64_t>(epoch)}; }

}  // namespace

void Augmentation::check(const Dataset& images) const {
  if (!colours()) return;
  const Shape shape = images.image_shape();
  const bool three = saturation > 0 || hue > 0;
  if (three && shape[2] != 3)
    throw InputError("augmentation by saturation or hue of images of {}, expected 3 channels", shape.str());
  const auto [black, white] = images.range();
  if (!std::isfinite(black) || !std::isfinite(white))
    throw InputError("augmentation by colours of images with values that are not finite");
  if (three && black < 0)
    throw InputError(
        "augmentation by saturation or hue of images with values from {} to {}, which are no colours: expected none "
        "below 0, as before they were standardised (--normalise does that)",
        black, white);
}

ChooseCrop Augmentation::choose_crop(uint64_t seed, int64_t epoch, int64_t sample) const {
  return [random = random_of(seed, epoch), sample, least = resized_crop](int64_t height, int64_t width) -> Crop {
    constexpr double widest = 4.0 / 3;
    const auto found =
        random_rectangle(random, static_cast<uint64_t>(sample), cropping, height, width, {least, 1, widest});
    if (found)
      return {static_cast<double>(found->top), static_cast<double>(found->left), static_cast<double>(found->height),
              static_cast<double>(found->width)};
    // None fits in an image that is long: its middle, as long as the ratio allows.
    const double h = std::min(static_cast<double>(height), static_cast<double>(width) * widest);
    const double w = std::min(static_cast<double>(width), static_cast<double>(height) * widest);
    return {(static_cast<double>(height) - h) / 2, (static_cast<double>(width) - w) / 2, h, w};
  };
}

void Augmentation::apply(std::span<float> image, const Shape& shape, uint64_t seed, int64_t epoch, int64_t sample,
                         std::vector<float>& scratch, const Normalisation* normalisation,
                         const ValueRange& range) const {
  const Random random = random_of(seed, epoch);
  const auto numbers = [&](Block block) { return random.bits(static_cast<uint64_t>(sample), block); };
  if (crop > 0 || flip || vertical_flip || resamples()) {
    const auto first = numbers(shifts);
    detail::Place place{.down = static_cast<double>(pick(first[0], 2 * crop + 1) - crop),
                        .right = static_cast<double>(pick(first[1], 2 * crop + 1) - crop)};
    const double across = flip && (first[2] >> 31) != 0 ? -1 : 1;
    const double along = vertical_flip && (first[3] >> 31) != 0 ? -1 : 1;
    scratch.assign(image.begin(), image.end());
    if (resamples()) {
      const auto second = numbers(turns), third = numbers(translations);
      const double angle = rotate * both_ways(second[0]) * std::numbers::pi / 180;
      const double size = 1 + zoom * both_ways(second[1]);
      const double push = std::tan(shear * both_ways(second[2]) * std::numbers::pi / 180);
      const double cosine = std::cos(angle) / size, sine = std::sin(angle) / size;
      place.down += translate * both_ways(third[0]) * static_cast<double>(shape[0]);
      place.right += translate * both_ways(third[1]) * static_cast<double>(shape[1]);
      // Rotation and zoom after the shear, which moves columns by rows, after the flips.
      place.matrix[0][0] = (cosine - sine * push) * along;
      place.matrix[0][1] = -sine * across;
      place.matrix[1][0] = (sine + cosine * push) * along;
      place.matrix[1][1] = cosine * across;
      detail::resample(place, scratch, shape, image.data());
    } else {
      place.matrix[0][0] = along;
      place.matrix[1][1] = across;
      detail::move_pixels(place, scratch, shape, image.data());
    }
  }
  if (colours()) {
    const auto bits = numbers(colouring);
    detail::change_colours({.brightness = static_cast<float>(brightness * both_ways(bits[0])),
                            .contrast = static_cast<float>(1 + contrast * both_ways(bits[1])),
                            .saturation = static_cast<float>(1 + saturation * both_ways(bits[2])),
                            .hue = static_cast<float>(hue * both_ways(bits[3]))},
                           image, shape, normalisation, range);
  }
  const auto last = numbers(squares);
  if (cutout > 0) blacken(image, shape, square(last[0], last[1], cutout, shape));
  if (erase > 0 && to_uniform(last[2]) < erase)
    if (const auto found = random_rectangle(random, static_cast<uint64_t>(sample), erasing, shape[0], shape[1],
                                            {0.02, 0.33, 10.0 / 3}))
      blacken(image, shape, *found);
}

}  // namespace lockstep
