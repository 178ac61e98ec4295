#include "launch/data/augment.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "core/random.h"

namespace lockstep {

Augmentation Augmentation::parse(const std::string& text) {
  Augmentation result;
  if (text == "none") return result;
  const auto refuse = [&] { return InputError("augmentation '{}', expected none, crop:PIXELS, flip, or crop:PIXELS,flip", text); };
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    const std::string_view part = std::string_view(text).substr(at, comma - at);
    at = comma + 1;
    if (part == "flip" && !result.flip) {
      result.flip = true;
      continue;
    }
    if (!part.starts_with("crop:") || result.crop > 0) throw refuse();
    const char* end = part.data() + part.size();
    const auto [stopped, error] = std::from_chars(part.data() + 5, end, result.crop);
    if (error != std::errc{} || stopped != end || result.crop < 1) throw refuse();
  }
  return result;
}

void Augmentation::apply(std::span<float> image, const Shape& shape, uint64_t seed, int64_t epoch, int64_t sample,
                         std::vector<float>& scratch) const {
  const auto bits = Random(seed, Purpose::Augment, 0, static_cast<uint64_t>(epoch)).bits(static_cast<uint64_t>(sample), 0);
  const auto shift = [&](uint32_t random) {  // uniform over -crop … crop
    return static_cast<int64_t>((uint64_t{random} * static_cast<uint64_t>(2 * crop + 1)) >> 32) - crop;
  };
  const int64_t down = shift(bits[0]);
  const int64_t right = shift(bits[1]);
  const bool mirrored = flip && (bits[2] >> 31) != 0;
  const int64_t height = shape[0];
  const int64_t width = shape[1];
  const int64_t channels = shape[2];
  scratch.assign(image.begin(), image.end());
  float* out = image.data();
  for (int64_t y = 0; y < height; ++y) {
    const float* row = scratch.data() + std::clamp<int64_t>(y + down, 0, height - 1) * width * channels;
    for (int64_t x = 0; x < width; ++x) {
      const int64_t from = std::clamp<int64_t>((mirrored ? width - 1 - x : x) + right, 0, width - 1);
      out = std::copy_n(row + from * channels, channels, out);
    }
  }
}

}  // namespace lockstep
