// Image files of every kind, drawn by a random number generator: for tests of what becomes of them. Nothing of the
// reading code is used.
#pragma once

#include <cstddef>
#include <cstdio>
// libjpeg needs these before its own header.
#include <jpeglib.h>
#include <png.h>
#include <zlib.h>

#include <cmath>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "tests/launch/data/golden_files.h"

namespace lockstep::testing {

using Bytes = std::vector<uint8_t>;

/// A picture as it is stored.
struct Drawing {
  int height = 0, width = 0, channels = 0;  // 1 grey, 2 with alpha, 3 colours, 4 with alpha, or inks
  Bytes pixels;                             // [H, W, C]
};

class Draw {
 public:
  explicit Draw(uint64_t seed) : random_(seed) {}

  int pick(int least, int most) { return std::uniform_int_distribution<int>(least, most)(random_); }
  bool coin() { return pick(0, 1) == 1; }

  /// Waves and an edge, alike in no direction.
  Drawing picture(int height, int width, int channels) {
    Drawing drawing{height, width, channels, {}};
    std::vector<double> across, down, shift;
    for (int i = 0; i < 2 * channels; ++i) {
      across.push_back(pick(-40, 40) / 100.0);
      down.push_back(pick(-40, 40) / 100.0);
      shift.push_back(pick(0, 600) / 100.0);
    }
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x)
        for (size_t c = 0; c < static_cast<size_t>(channels); ++c) {
          double value = 120 + (2 * x > y + static_cast<int>(3 * c) ? 20 : -20);
          for (size_t wave = 2 * c; wave < 2 * c + 2; ++wave)
            value += 45 * std::sin(across[wave] * x + down[wave] * y + shift[wave]);
          drawing.pixels.push_back(static_cast<uint8_t>(value));
        }
    return drawing;
  }

  /// TIFF's header and a directory with the orientation, as a SHORT or a LONG, in either order of bytes.
  Bytes exif(int orientation) {
    const bool big = coin(), wide = coin();
    const auto value = static_cast<uint8_t>(orientation);
    const uint8_t type = wide ? 4 : 3;
    Bytes field(4);
    field[big ? (wide ? 3 : 1) : 0] = value;
    Bytes tiff = big ? Bytes{'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, type, 0, 0, 0, 1}
                     : Bytes{'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 0x01, type, 0, 1, 0, 0, 0};
    tiff.insert(tiff.end(), field.begin(), field.end());
    tiff.insert(tiff.end(), 4, 0);
    return tiff;
  }

  /// Any subsampling, progressive or not, with restarts or without; inks with Adobe's marker or without.
  Bytes jpeg(const Drawing& drawing) {
    jpeg_compress_struct info{};
    jpeg_error_mgr errors{};
    info.err = jpeg_std_error(&errors);
    jpeg_create_compress(&info);
    unsigned char* data = nullptr;
    unsigned long size = 0;
    jpeg_mem_dest(&info, &data, &size);
    info.image_height = static_cast<JDIMENSION>(drawing.height);
    info.image_width = static_cast<JDIMENSION>(drawing.width);
    info.input_components = drawing.channels;
    info.in_color_space = drawing.channels == 1 ? JCS_GRAYSCALE : drawing.channels == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&info);
    jpeg_set_quality(&info, pick(80, 97), TRUE);
    if (drawing.channels == 3) {
      info.comp_info[0].h_samp_factor = pick(1, 2);
      info.comp_info[0].v_samp_factor = pick(1, 2);
    }
    if (coin()) jpeg_simple_progression(&info);
    if (pick(0, 2) == 0) info.restart_in_rows = 1;
    if (drawing.channels == 4 && coin()) info.write_Adobe_marker = FALSE;
    jpeg_start_compress(&info, TRUE);
    while (info.next_scanline < info.image_height) {
      auto* row = const_cast<JSAMPROW>(drawing.pixels.data()) +
                  static_cast<size_t>(info.next_scanline) * static_cast<size_t>(drawing.width * drawing.channels);
      jpeg_write_scanlines(&info, &row, 1);
    }
    jpeg_finish_compress(&info);
    Bytes file(data, data + size);
    jpeg_destroy_compress(&info);
    std::free(data);
    return file;
  }

  /// Any depth that the channels can have, interlaced or not, with a palette (of a grey picture) or without.
  Bytes png(const Drawing& drawing) {
    constexpr int kinds[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                             PNG_COLOR_TYPE_RGB_ALPHA};
    const bool palette = drawing.channels == 1 && pick(0, 2) == 0;
    const int kind = palette ? PNG_COLOR_TYPE_PALETTE : kinds[drawing.channels - 1];
    const int depth = drawing.channels == 1 ? 1 << pick(0, palette ? 3 : 4) : 8 << pick(0, 1);
    Bytes file;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
    png_infop info = png_create_info_struct(png);
    const auto write = [](png_structp to, png_bytep bytes, size_t count) {
      auto* all = static_cast<Bytes*>(png_get_io_ptr(to));
      all->insert(all->end(), bytes, bytes + count);
    };
    png_set_write_fn(png, &file, write, [](png_structp) {});
    png_set_IHDR(png, info, static_cast<png_uint_32>(drawing.width), static_cast<png_uint_32>(drawing.height), depth,
                 kind, coin() ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    if (palette) {
      std::vector<png_color> colours(size_t{1} << depth);
      for (png_color& one : colours)
        one = {static_cast<png_byte>(pick(0, 255)), static_cast<png_byte>(pick(0, 255)),
               static_cast<png_byte>(pick(0, 255))};
      png_set_PLTE(png, info, colours.data(), static_cast<int>(colours.size()));
      Bytes clear{0, 128};
      if (coin()) png_set_tRNS(png, info, clear.data(), 2, nullptr);
    }
    png_write_info(png, info);
    // Samples as libpng takes them: a byte each below 8 bits, two bytes of 16.
    Bytes samples;
    for (const uint8_t value : drawing.pixels)
      if (depth == 16)
        samples.insert(samples.end(), {value, static_cast<uint8_t>(pick(0, 255))});
      else
        samples.push_back(static_cast<uint8_t>(value >> (8 - depth)));
    if (depth < 8) png_set_packing(png);
    const size_t row_bytes = samples.size() / static_cast<size_t>(drawing.height);
    std::vector<png_bytep> rows;
    for (size_t y = 0; y < static_cast<size_t>(drawing.height); ++y) rows.push_back(samples.data() + y * row_bytes);
    png_write_image(png, rows.data());
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return file;
  }

  /// The file with an orientation: a JPEG's in its first or second segment, a PNG's before its pixels or after them.
  Bytes oriented(const Bytes& file, int orientation) {
    const Bytes tiff = exif(orientation);
    const auto big_endian = [](uint32_t value) {
      return Bytes{static_cast<uint8_t>(value >> 24), static_cast<uint8_t>(value >> 16),
                   static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
    };
    Bytes part;
    const auto add = [&](const Bytes& bytes) { part.insert(part.end(), bytes.begin(), bytes.end()); };
    size_t at = 0;
    if (file[0] == 0xFF) {
      const size_t first = 4 + size_t{file[4]} * 256 + file[5];
      at = coin() ? 2 : first;
      add({0xFF, 0xE1, 0, static_cast<uint8_t>(2 + 6 + tiff.size()), 'E', 'x', 'i', 'f', 0, 0});
      add(tiff);
    } else {
      constexpr size_t behind_header = 8 + 25, end = 12;
      at = coin() ? behind_header : file.size() - end;
      add({'e', 'X', 'I', 'f'});
      add(tiff);
      const auto sum = static_cast<uint32_t>(crc32_z(0, part.data(), part.size()));
      const Bytes length = big_endian(static_cast<uint32_t>(tiff.size()));
      part.insert(part.begin(), length.begin(), length.end());
      add(big_endian(sum));
    }
    Bytes result = file;
    result.insert(result.begin() + static_cast<ptrdiff_t>(at), part.begin(), part.end());
    return result;
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace lockstep::testing
