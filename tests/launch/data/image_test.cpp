// Decoding and resampling against Pillow's bytes (tests/golden/make_images.py). Both are the same integers, so nothing
// is tolerated; a decoder of another make would be off by one or two.
#include "launch/data/image/image.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "launch/data/image/exif.h"
#include "launch/data/image/resample.h"
#include "tests/launch/data/golden_files.h"
#include "tests/support/errors.h"

namespace lockstep {
namespace {

using test::error_of;
using test::says;
using testing::from_base64;
using testing::golden_file;
using testing::golden_images;

TEST(Image, DecodesAsPillowDoes) {
  for (const auto& [name, golden] : golden_images()["images"].items()) {
    const std::vector<uint8_t> file = golden_file(name);
    const ImageSize size = image_size(file, name);
    EXPECT_EQ(size.height, golden["height"]) << name;
    EXPECT_EQ(size.width, golden["width"]) << name;
    const Image image = decode_image(file, name);
    EXPECT_EQ(image.height, size.height) << name;
    EXPECT_EQ(image.channels, 3) << name;
    EXPECT_TRUE(image.pixels == from_base64(golden["pixels"])) << name;
  }
}

TEST(Image, IsTurnedUprightByItsOrientation) {
  // All eight are one picture: as stored, its rows and columns lie differently each time.
  const auto& images = golden_images()["images"];
  for (const std::string format : {"jpeg", "png"}) {
    const auto first = decode_image(golden_file(format + "_exif_1"), "1");
    int different = 0;
    for (int number = 2; number <= 8; ++number) {
      const std::string name = format + "_exif_" + std::to_string(number);
      const Image image = decode_image(golden_file(name), name);
      EXPECT_EQ(image.height, number >= 5 ? 20 : 13) << name;
      EXPECT_TRUE(image.pixels == from_base64(images[name]["pixels"])) << name;
      different += image.pixels != first.pixels;
      // Turned back, it is the first again.
      constexpr int inverse[] = {1, 2, 3, 4, 5, 8, 7, 6};
      EXPECT_TRUE(upright(image, inverse[number - 1]).pixels == first.pixels) << name;
    }
    EXPECT_EQ(different, 7);
  }
}

TEST(Image, AnOrientationBehindThePixelsCounts) {
  for (int number = 1; number <= 8; ++number) {
    const std::string name = "png_exif_" + std::to_string(number);
    const auto file = testing::chunks_last(golden_file(name), "eXIf");
    ASSERT_NE(file, golden_file(name));
    const ImageSize size = image_size(file, name);
    EXPECT_EQ(size.height, number >= 5 ? 20 : 13) << name;
    EXPECT_EQ(size.width, number >= 5 ? 13 : 20) << name;
    ImageSize told;
    const auto note = [&](ImageSize given) {
      told = given;
      return 1;
    };
    const Image image = decode_image(file, name, {.reduce = note});
    EXPECT_EQ(told.height, image.height) << name;
    EXPECT_EQ(told.width, image.width) << name;
    EXPECT_TRUE(image.pixels == from_base64(golden_images()["images"][name]["pixels"])) << name;
    // A damaged one counts for nothing, by header or by pixels.
    auto damaged = file;
    damaged[file.size() - 12 - 5] ^= 1;
    EXPECT_EQ(image_size(damaged, name).height, 13) << name;
    EXPECT_EQ(decode_image(damaged, name).height, 13) << name;
    constexpr size_t end = 12;  // the last chunk, which nothing needs
    for (size_t n = 0; n < file.size() - end; ++n)
      ASSERT_FALSE(error_of<CorruptImage>([&] { image_size(std::span(file).first(n), name); }).empty()) << n;
  }
}

TEST(Image, MalformedOrientationsAreNone) {
  std::vector<uint8_t> tiff{'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(exif_orientation(tiff), 6);
  for (size_t n = 0; n < 22; ++n) EXPECT_EQ(exif_orientation(std::span(tiff).first(n)), 1) << n;
  for (const auto& [at, value] :
       {std::pair<size_t, uint8_t>{0, 'X'}, {3, 43}, {4, 0xFF}, {7, 0xFF}, {13, 1}, {13, 5}, {17, 0}, {19, 9}}) {
    auto bad = tiff;
    bad[at] = value;
    EXPECT_EQ(exif_orientation(bad), 1) << at;
  }
}

TEST(Image, AnOrientationMayBeAnyWholeNumber) {
  // Type and width of SHORT, LONG, SBYTE, SSHORT and SLONG, in both orders of bytes, as Pillow reads them.
  for (const auto& [type, bytes] : {std::pair<uint8_t, size_t>{3, 2}, {4, 4}, {6, 1}, {8, 2}, {9, 4}})
    for (const bool big : {true, false}) {
      std::vector<uint8_t> tiff{'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, type, 0, 0, 0, 1, 0, 0, 0, 0};
      tiff[18 + bytes - 1] = 8;
      if (!big) {
        tiff = {'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 0x01, type, 0, 1, 0, 0, 0, 8, 0, 0, 0};
      }
      EXPECT_EQ(exif_orientation(tiff), 8) << int{type} << (big ? " big" : " little");
    }
}

TEST(Image, InksAreInvertedWithoutAdobesMarkerToo) {
  auto file = golden_file("jpeg_cmyk");
  size_t at = 2;
  while (file[at + 1] != 0xEE) at += 2 + size_t{file[at + 2]} * 256 + file[at + 3];
  file.erase(file.begin() + static_cast<ptrdiff_t>(at),
             file.begin() + static_cast<ptrdiff_t>(at + 2 + size_t{file[at + 2]} * 256 + file[at + 3]));
  EXPECT_TRUE(decode_image(file, "cmyk").pixels == from_base64(golden_images()["images"]["jpeg_cmyk"]["pixels"]));
}

TEST(Image, OneChannelIsGrey) {
  const DecodeOptions grey{.channels = 1};
  const Image given = decode_image(golden_file("png_grey"), "grey", grey);
  EXPECT_EQ(given.channels, 1);
  const Image colour = decode_image(golden_file("png_rgb"), "rgb");
  // The golden grey image was made from the colours by the same integers.
  EXPECT_TRUE(decode_image(golden_file("png_rgb"), "rgb", grey).pixels == given.pixels);
  EXPECT_EQ(decode_image(golden_file("jpeg_420"), "jpeg", grey).channels, 1);
  EXPECT_EQ(decode_image(golden_file("jpeg_cmyk"), "cmyk", grey).channels, 1);
  EXPECT_EQ(given.pixels.size() * 3, colour.pixels.size());
}

TEST(Image, ReducedIsTheSamePictureSmaller) {
  for (const std::string name : {"jpeg_444", "jpeg_420", "jpeg_progressive"}) {
    const auto file = golden_file(name);
    const Image whole = decode_image(file, name);
    for (const int reduce : {2, 4, 8}) {
      const Image small = decode_image(file, name, {.reduce = [&](ImageSize) { return reduce; }});
      ASSERT_EQ(small.height, (29 + reduce - 1) / reduce);
      ASSERT_EQ(small.width, (37 + reduce - 1) / reduce);
      EXPECT_EQ(small.reduced, reduce);
      // Against the mean of the pixels that each covers, where all of them are there. The picture is smooth, and
      // the transform's lower frequencies are about that mean.
      double worst = 0;
      for (int64_t y = 0; (y + 1) * reduce <= whole.height; ++y)
        for (int64_t x = 0; (x + 1) * reduce <= whole.width; ++x)
          for (int64_t c = 0; c < 3; ++c) {
            double mean = 0;
            for (int64_t v = 0; v < reduce; ++v)
              for (int64_t u = 0; u < reduce; ++u)
                mean += whole.pixels[static_cast<size_t>(((y * reduce + v) * 37 + x * reduce + u) * 3 + c)];
            mean /= reduce * reduce;
            worst = std::max(worst, std::abs(mean - small.pixels[static_cast<size_t>((y * small.width + x) * 3 + c)]));
          }
      EXPECT_TRUE(worst <= 16) << name << " / " << reduce << ": " << worst;
    }
  }
}

TEST(Image, TruncatedFilesAreRefusedWithTheirPlace) {
  for (const std::string name : {"jpeg_420", "jpeg_progressive", "jpeg_cmyk", "png_rgb", "png_palette"}) {
    const auto file = golden_file(name);
    EXPECT_NO_THROW(decode_image(file, name)) << "the negative control";
    for (size_t n = 0; n < file.size(); ++n)
      ASSERT_TRUE(
          says(error_of<CorruptImage>([&] { decode_image(std::span(file).first(n), name); }), {name + ": byte "}))
          << name << " cut to " << n << " of " << file.size();
  }
}

TEST(Image, DamagedFilesAreRefusedOrDecoded) {
  for (const std::string name : {"jpeg_420", "jpeg_progressive", "png_rgb", "png_palette"}) {
    const auto file = golden_file(name);
    size_t refused = 0;
    for (size_t i = 0; i < file.size(); ++i) {
      auto bad = file;
      bad[i] ^= 0xFF;
      try {
        const Image image = decode_image(bad, name);
        EXPECT_EQ(image.pixels.size(), static_cast<size_t>(image.height * image.width * 3));
      } catch (const CorruptImage&) {
        ++refused;
      }
    }
    // A PNG has checksums: what is let pass are chunks that only comment.
    EXPECT_GE(refused, file.size() / (name.starts_with("png") ? 2 : 20)) << name;
  }
  const std::string text = "GIF89a and so on";
  EXPECT_TRUE(says(error_of<CorruptImage>([&] {
                     decode_image({reinterpret_cast<const uint8_t*>(text.data()), text.size()}, "x.jpg");
                   }),
                   {"x.jpg: byte 0", "neither as a JPEG nor as a PNG"}));
}

TEST(Resample, IsPillowsBilinear) {
  for (const auto& golden : golden_images()["resized"]) {
    const Image image =
        decode_image(golden_file(golden["from"]), golden["from"], {.channels = golden["channels"].get<int>()});
    const auto& b = golden["box"];
    const Crop box{b[1], b[0], b[3].get<double>() - b[1].get<double>(), b[2].get<double>() - b[0].get<double>()};
    std::vector<uint8_t> to(golden["height"].get<size_t>() * golden["width"].get<size_t>() *
                            static_cast<size_t>(image.channels));
    resample(image, box, golden["height"], golden["width"], to);
    EXPECT_TRUE(to == from_base64(golden["pixels"])) << golden["height"] << "x" << golden["width"];
  }
}

TEST(Resample, APartMustBeOneOfTheImage) {
  const Image image{4, 6, 1, std::vector<uint8_t>(24)};
  std::vector<uint8_t> to(4);
  EXPECT_NO_THROW(resample(image, {0, 0, 4, 6}, 2, 2, to));
  for (const Crop& box : {Crop{0, 0, 6, 4}, {-1, 0, 2, 2}, {0, 5, 2, 2}, {0, 0, 0, 2}, {0, 0, 2, std::nan("")}})
    EXPECT_TRUE(says(error_of<Error>([&] { resample(image, box, 2, 2, to); }), {"a part of", "4x6"}));
}

TEST(Resample, TheMiddleIsTorchvisions) {
  const auto is = [](Crop box, double top, double left, double height, double width) {
    EXPECT_NEAR(box.top, top, 1e-9);
    EXPECT_NEAR(box.left, left, 1e-9);
    EXPECT_NEAR(box.height, height, 1e-9);
    EXPECT_NEAR(box.width, width, 1e-9);
  };
  is(central_crop({100, 200}, 50, 50, 0), 0, 50, 100, 100);
  is(central_crop({200, 100}, 50, 50, 0), 50, 0, 100, 100);
  is(central_crop({100, 200}, 50, 100, 0), 0, 0, 100, 200);
  // Resize(256) of 512x1024 gives 256x512, whose middle 224 are 448 of the image.
  is(central_crop({512, 1024}, 224, 224, 256), 32, 288, 448, 448);
  // No more than there is.
  is(central_crop({100, 50}, 10, 80, 80), 46.875, 0, 6.25, 50);
}

}  // namespace
}  // namespace lockstep
