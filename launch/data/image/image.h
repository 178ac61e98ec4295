// Images in files, JPEG or PNG, as bytes of pixels. Any thread may call.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"

namespace lockstep {

/// A file that is no image, or a damaged one: names the file, the byte and the reason.
class CorruptImage : public InputError {
 public:
  using InputError::InputError;
};

struct ImageSize {
  int64_t height = 0, width = 0;
};

struct Image {
  int64_t height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels = {};  // [H, W, C]
  int reduced = 1;                   // by what its sides were divided as it was decoded
  ImageSize whole = {};              // what they were before
  /// Where the image begins, in pixels of `whole`: sides that are divided are rounded up, and what that adds stands
  /// before the first row or column of an image that was mirrored.
  ImageSize before = {};
};

/// The size that `decode_image` gives, without decoding: what to expect of a file. Where to take a part from, only the
/// reading that gives the pixels says: DecodeOptions::reduce. Of a PNG all chunks are looked at, since its orientation
/// may stand after its pixels. `name` is the file's in errors. Throws CorruptImage.
ImageSize image_size(std::span<const uint8_t> file, const std::string& name);

/// Told the size of what is being decoded, upright, before it is; answers by what its sides may be divided.
using ChooseReduction = std::function<int(ImageSize)>;

struct DecodeOptions {
  int channels = 3;             // 3: red, green, blue; 1: grey
  ChooseReduction reduce = {};  // a JPEG is decoded at 1/reduce of its size, rounded up: 1 (the default), 2, 4 or 8; a
                                // PNG is not, whatever the answer
};

/// Decodes JPEG (baseline and progressive; grey, colour, CMYK) and PNG (any kind, 16 bits rounded to 8, transparency
/// left out), told apart by their first bytes, and turns them upright as EXIF says. Grey of colours is ITU-R BT.601's
/// luma. The bits do not depend on the processor: libjpeg-turbo's accurate integer transform. Throws CorruptImage,
/// for truncated files too.
Image decode_image(std::span<const uint8_t> file, const std::string& name, const DecodeOptions& options = {});

/// Images of more pixels are refused as damaged: a header of a few bytes can claim any size.
constexpr int64_t most_pixels = int64_t{1} << 28;

namespace detail {

/// A format's part of the above: as stored, with the EXIF orientation beside it.
struct Stored {
  Image image;
  int orientation = 1;
};
Stored decode_jpeg(std::span<const uint8_t> file, const std::string& name, const DecodeOptions& options);
Stored decode_png(std::span<const uint8_t> file, const std::string& name, const DecodeOptions& options);
/// Without pixels.
Stored jpeg_header(std::span<const uint8_t> file, const std::string& name);
Stored png_header(std::span<const uint8_t> file, const std::string& name);
/// The size of the image once it is upright.
ImageSize upright_size(const Stored& stored);
void check_pixels(const std::string& name, int64_t height, int64_t width);
/// Red, green and blue to grey where one channel is asked for.
void to_channels(Image& image, int channels);

}  // namespace detail

}  // namespace lockstep
