#include <png.h>
#include <zlib.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <string_view>

#include "launch/data/image/exif.h"
#include "launch/data/image/image.h"

namespace lockstep::detail {

namespace {

/// One file being read. libpng leaves by longjmp, over frames that own nothing.
class Decoder {
 public:
  Decoder(std::span<const uint8_t> file, const std::string& name) : file_(file), name_(name) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, fail, [](png_structp, png_const_charp) {});
    info_ = png_ ? png_create_info_struct(png_) : nullptr;
    if (!info_) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      throw Error("{}: libpng could not start", name);
    }
    png_set_read_fn(png_, this, read);
  }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  ~Decoder() { png_destroy_read_struct(&png_, &info_, nullptr); }

  Image read_header() {
    guarded([this] { png_read_info(png_, info_); });
    return {png_get_image_height(png_, info_), png_get_image_width(png_, info_), png_get_channels(png_, info_)};
  }

  /// What was read so far says: 0 where that is nothing.
  int orientation() {
    png_uint_32 size = 0;
    png_bytep exif = nullptr;
    if (png_get_eXIf_1(png_, info_, &size, &exif) == 0) return 0;
    return exif_orientation({exif, size});
  }

  Image decode() {
    guarded([this] {
      png_set_expand(png_);  // palettes to colours, fewer than 8 bits to 8
      png_set_scale_16(png_);
      png_set_strip_alpha(png_);
      png_set_interlace_handling(png_);
      png_read_update_info(png_, info_);
    });
    Image image{png_get_image_height(png_, info_), png_get_image_width(png_, info_), png_get_channels(png_, info_)};
    const size_t row_bytes = png_get_rowbytes(png_, info_);
    image.pixels.resize(static_cast<size_t>(image.height) * row_bytes);
    std::vector<png_bytep> rows;
    for (int64_t y = 0; y < image.height; ++y) rows.push_back(image.pixels.data() + static_cast<size_t>(y) * row_bytes);
    png_bytepp const first = rows.data();
    guarded([this, first] {
      png_read_image(png_, first);
      png_read_end(png_, info_);
    });
    return image;
  }

 private:
  static void fail(png_structp png, png_const_charp text) {
    auto* self = static_cast<Decoder*>(png_get_error_ptr(png));
    std::strncpy(self->text_, text, sizeof self->text_ - 1);
    std::longjmp(self->jump_, 1);
  }
  static void read(png_structp png, png_bytep to, size_t count) {
    auto* self = static_cast<Decoder*>(png_get_io_ptr(png));
    if (count > self->file_.size() - self->at_) png_error(png, "the file ends too early");
    std::memcpy(to, self->file_.data() + self->at_, count);
    self->at_ += count;
  }
  template <class Work>
  void guarded(Work work) {
    if (setjmp(jump_)) throw CorruptImage("{}: byte {}: {}", name_, at_, text_);
    work();
  }

  std::span<const uint8_t> file_;
  const std::string& name_;
  size_t at_ = 0;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::jmp_buf jump_{};
  char text_[256] = {};
};

/// Found by the chunks' headers alone, as libpng finds it: the first whole one counts.
int orientation_of_chunks(std::span<const uint8_t> file, const std::string& name) {
  constexpr size_t signature = 8, head = 8, checksum = 4;
  for (size_t at = signature;;) {
    const size_t left = file.size() - at;
    const size_t length = left < head ? 0 : png_get_uint_32(file.data() + at);
    if (left < head + checksum || length > left - head - checksum)
      throw CorruptImage("{}: byte {}: the file ends too early", name, file.size());
    const uint8_t* const type = file.data() + at + 4;
    const std::string_view kind(reinterpret_cast<const char*>(type), 4);
    if (kind == "IEND") return 1;
    if (kind == "eXIf" && crc32_z(0, type, length + 4) == png_get_uint_32(file.data() + at + head + length))
      return exif_orientation(file.subspan(at + head, length));
    at += head + length + checksum;
  }
}

}  // namespace

Stored png_header(std::span<const uint8_t> file, const std::string& name) {
  Decoder decoder(file, name);
  Stored stored{decoder.read_header()};
  check_pixels(name, stored.image.height, stored.image.width);
  stored.orientation = decoder.orientation();
  if (stored.orientation == 0) stored.orientation = orientation_of_chunks(file, name);
  return stored;
}

Stored decode_png(std::span<const uint8_t> file, const std::string& name, const DecodeOptions& options) {
  Decoder decoder(file, name);
  Stored stored{decoder.read_header()};
  check_pixels(name, stored.image.height, stored.image.width);
  stored.image = decoder.decode();
  stored.orientation = std::max(decoder.orientation(), 1);
  if (options.reduce) options.reduce(upright_size(stored));
  to_channels(stored.image, options.channels);
  return stored;
}

}  // namespace lockstep::detail
