// libjpeg needs these two before its own header.
#include <cstddef>
#include <cstdio>
// clang-format off
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include <algorithm>
#include <array>
#include <csetjmp>

#include "launch/data/image/exif.h"
#include "launch/data/image/image.h"

namespace lockstep::detail {

namespace {

constexpr int exif_marker = JPEG_APP0 + 1;

struct ErrorManager {
  jpeg_error_mgr base;
  std::jmp_buf jump;
  char text[JMSG_LENGTH_MAX];
};

[[noreturn]] void fail(j_common_ptr info) {
  auto* errors = reinterpret_cast<ErrorManager*>(info->err);
  info->err->format_message(info, errors->text);
  std::longjmp(errors->jump, 1);
}

/// libjpeg invents pixels where data is missing or wrong, and only warns. What does not touch pixels, such as bytes
/// between markers, is let pass.
void warn(j_common_ptr info, int level) {
  constexpr std::array damage{JWRN_JPEG_EOF,    JWRN_HIT_MARKER,     JWRN_HUFF_BAD_CODE,    JWRN_ARITH_BAD_CODE,
                              JWRN_MUST_RESYNC, JWRN_NOT_SEQUENTIAL, JWRN_BOGUS_PROGRESSION};
  if (level < 0 && std::ranges::find(damage, info->err->msg_code) != damage.end()) fail(info);
}

/// One file being read. libjpeg leaves by longjmp, over frames that own nothing.
class Decoder {
 public:
  Decoder(std::span<const uint8_t> file, const std::string& name) : file_(file), name_(name) {
    info_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = fail;
    errors_.base.emit_message = warn;
    jpeg_create_decompress(&info_);
  }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  ~Decoder() { jpeg_destroy_decompress(&info_); }

  void read_header() {
    guarded([this] {
      jpeg_mem_src(&info_, file_.data(), file_.size());
      jpeg_save_markers(&info_, exif_marker, 0xFFFF);
      jpeg_read_header(&info_, TRUE);
    });
  }

  int orientation() const {
    constexpr std::array<uint8_t, 6> exif{'E', 'x', 'i', 'f', 0, 0};
    for (auto marker = info_.marker_list; marker; marker = marker->next) {
      const std::span<const uint8_t> bytes(marker->data, marker->data_length);
      if (marker->marker == exif_marker && bytes.size() > exif.size() &&
          std::equal(exif.begin(), exif.end(), bytes.begin()))
        return exif_orientation(bytes.subspan(exif.size()));
    }
    return 1;
  }

  bool inks() const { return info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK; }
  Image size() const { return {int64_t{info_.image_height}, int64_t{info_.image_width}, info_.num_components}; }

  Image decode(int channels, int reduce) {
    info_.out_color_space = inks() ? JCS_CMYK : channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    info_.scale_num = 1;
    info_.scale_denom = static_cast<unsigned>(reduce);
    info_.dct_method = JDCT_ISLOW;
    guarded([this] { jpeg_start_decompress(&info_); });
    Image image{int64_t{info_.output_height}, int64_t{info_.output_width}, info_.output_components};
    const size_t row_bytes = static_cast<size_t>(image.width * image.channels);
    image.pixels.resize(static_cast<size_t>(image.height) * row_bytes);
    image.reduced = reduce;
    image.whole = {int64_t{info_.image_height}, int64_t{info_.image_width}};
    uint8_t* const pixels = image.pixels.data();
    guarded([this, pixels, row_bytes] {
      while (info_.output_scanline < info_.output_height) {
        JSAMPROW row = pixels + info_.output_scanline * row_bytes;
        jpeg_read_scanlines(&info_, &row, 1);
      }
      jpeg_finish_decompress(&info_);
    });
    return image;
  }

 private:
  template <class Work>
  void guarded(Work work) {
    if (setjmp(errors_.jump))
      throw CorruptImage("{}: byte {}: {}", name_, info_.src ? file_.size() - info_.src->bytes_in_buffer : 0,
                         errors_.text);
    work();
  }

  std::span<const uint8_t> file_;
  const std::string& name_;
  ErrorManager errors_{};
  jpeg_decompress_struct info_{};
};

/// (255 - ink) * (255 - black) / 255 of inks that are stored inverted, as Adobe's programs do: whether or not their
/// marker is there, as in Pillow.
void inks_to_colours(Image& image) {
  const auto pixels = static_cast<size_t>(image.height * image.width);
  const uint8_t* from = image.pixels.data();
  uint8_t* to = image.pixels.data();
  for (size_t i = 0; i < pixels; ++i, from += 4) {
    const unsigned light = from[3];
    for (int c = 0; c < 3; ++c) *to++ = static_cast<uint8_t>((from[c] * light + 127) / 255);
  }
  image.channels = 3;
  image.pixels.resize(3 * pixels);
}

}  // namespace

static Stored read_header(Decoder& decoder, const std::string& name) {
  decoder.read_header();
  Stored stored{decoder.size(), decoder.orientation()};
  check_pixels(name, stored.image.height, stored.image.width);
  return stored;
}

Stored jpeg_header(std::span<const uint8_t> file, const std::string& name) {
  Decoder decoder(file, name);
  return read_header(decoder, name);
}

Stored decode_jpeg(std::span<const uint8_t> file, const std::string& name, const DecodeOptions& options) {
  Decoder decoder(file, name);
  Stored stored = read_header(decoder, name);
  stored.image = decoder.decode(options.channels, options.reduce ? options.reduce(upright_size(stored)) : 1);
  if (decoder.inks()) inks_to_colours(stored.image);
  to_channels(stored.image, options.channels);
  return stored;
}

}  // namespace lockstep::detail
