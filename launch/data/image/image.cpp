#include "launch/data/image/image.h"

#include <algorithm>
#include <array>

#include "launch/data/image/exif.h"

namespace lockstep {

namespace {

using detail::Stored;

enum class Format { jpeg, png };

Format format_of(std::span<const uint8_t> file, const std::string& name) {
  constexpr std::array<uint8_t, 3> jpeg{0xFF, 0xD8, 0xFF};
  constexpr std::array<uint8_t, 8> png{0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  const auto begins = [&](std::span<const uint8_t> magic) {
    return file.size() >= magic.size() && std::equal(magic.begin(), magic.end(), file.begin());
  };
  if (begins(jpeg)) return Format::jpeg;
  if (begins(png)) return Format::png;
  throw CorruptImage("{}: byte 0: the file begins neither as a JPEG nor as a PNG ({} bytes)", name, file.size());
}

}  // namespace

ImageSize image_size(std::span<const uint8_t> file, const std::string& name) {
  return detail::upright_size(format_of(file, name) == Format::jpeg ? detail::jpeg_header(file, name)
                                                                    : detail::png_header(file, name));
}

Image decode_image(std::span<const uint8_t> file, const std::string& name, const DecodeOptions& options) {
  Stored stored = format_of(file, name) == Format::jpeg ? detail::decode_jpeg(file, name, options)
                                                        : detail::decode_png(file, name, options);
  return upright(std::move(stored.image), stored.orientation);
}

namespace detail {

ImageSize upright_size(const Stored& stored) {
  if (turns_sideways(stored.orientation)) return {stored.image.width, stored.image.height};
  return {stored.image.height, stored.image.width};
}

void check_pixels(const std::string& name, int64_t height, int64_t width) {
  if (height < 1 || width < 1 || height > most_pixels / width)
    throw CorruptImage("{}: an image of {}x{}, expected 1 to {} pixels", name, height, width, most_pixels);
}

void to_channels(Image& image, int channels) {
  if (image.channels == channels) return;
  const auto pixels = static_cast<size_t>(image.height * image.width);
  const uint8_t* from = image.pixels.data();
  if (channels == 3) {
    std::vector<uint8_t> colours(3 * pixels);
    for (size_t i = 0; i < pixels; ++i) std::fill_n(colours.data() + 3 * i, 3, from[i]);
    image.pixels = std::move(colours);
  } else {
    for (size_t i = 0; i < pixels; ++i, from += 3)
      image.pixels[i] = static_cast<uint8_t>((from[0] * 19595U + from[1] * 38470U + from[2] * 7471U + 32768U) >> 16);
    image.pixels.resize(pixels);
  }
  image.channels = channels;
}

}  // namespace detail

}  // namespace lockstep
