#include "launch/data/image/exif.h"

#include <algorithm>

namespace lockstep {

int exif_orientation(std::span<const uint8_t> tiff) {
  constexpr size_t entry_bytes = 12;
  constexpr uint32_t orientation_tag = 0x0112;
  constexpr size_t bytes_of_type[] = {0, 0, 0, 2, 4, 0, 1, 0, 2, 4};  // of TIFF's whole numbers; bytes are others
  if (tiff.size() < 8) return 1;
  const bool big = tiff[0] == 'M' && tiff[1] == 'M';
  if (!big && !(tiff[0] == 'I' && tiff[1] == 'I')) return 1;
  const auto number = [&](size_t at, size_t bytes) {
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; ++i) value = value << 8 | tiff[at + (big ? i : bytes - 1 - i)];
    return value;
  };
  const size_t directory = number(4, 4);
  if (number(2, 2) != 42 || directory + 2 > tiff.size()) return 1;
  const size_t entries = number(directory, 2);
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + i * entry_bytes;
    if (entry + entry_bytes > tiff.size()) return 1;
    if (number(entry, 2) != orientation_tag) continue;
    const uint32_t type = number(entry + 2, 2), count = number(entry + 4, 4);
    const size_t bytes = type < std::size(bytes_of_type) ? bytes_of_type[type] : 0;
    if (bytes == 0 || count == 0) continue;
    if (count * uint64_t{bytes} > 4) return 1;  // elsewhere: more of them than there can be
    const uint32_t value = number(entry + 8, bytes);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Image upright(Image stored, int orientation) {
  if (orientation == 1) return stored;
  const int64_t height = stored.height, width = stored.width, channels = stored.channels;
  const bool sideways = turns_sideways(orientation);
  Image result{sideways ? width : height, sideways ? height : width, channels, {}, stored.reduced, stored.whole};
  result.pixels.resize(stored.pixels.size());
  if (sideways) std::swap(result.whole.height, result.whole.width);
  // By orientation from 1: whether the stored row and the stored column count backwards.
  constexpr bool backward_row[] = {false, false, true, true, false, true, true, false};
  constexpr bool backward_column[] = {false, true, true, false, false, false, true, true};
  const bool up = backward_row[orientation - 1], back = backward_column[orientation - 1];
  if (stored.reduced > 1) {
    if (sideways ? back : up) result.before.height = result.height * stored.reduced - result.whole.height;
    if (sideways ? up : back) result.before.width = result.width * stored.reduced - result.whole.width;
  }
  uint8_t* to = result.pixels.data();
  for (int64_t y = 0; y < result.height; ++y)
    for (int64_t x = 0; x < result.width; ++x) {
      const int64_t row = sideways ? x : y, column = sideways ? y : x;
      const int64_t at = (up ? height - 1 - row : row) * width + (back ? width - 1 - column : column);
      to = std::copy_n(stored.pixels.data() + at * channels, channels, to);
    }
  return result;
}

}  // namespace lockstep
