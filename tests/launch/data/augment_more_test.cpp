// The changes beyond crop, flip, rotation and zoom (augment_test.cpp): what each does, and how far.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "launch/data/feed/augment.h"
#include "launch/data/feed/feed.h"
#include "launch/data/image/packed.h"
#include "launch/data/readers/arrays.h"
#include "launch/data/readers/open.h"
#include "launch/data/resize.h"
#include "launch/data/subset.h"
#include "tests/support/errors.h"
#include "tests/support/source_files.h"
#include "tests/support/temporary_folder.h"

namespace lockstep {
namespace {

using test::error_of;
using test::says;

constexpr int draws = 400;

std::vector<float> augmented(const Augmentation& augmentation, const Shape& shape, std::vector<float> image,
                             int64_t sample, const Normalisation* normalisation = nullptr) {
  std::vector<float> scratch;
  augmentation.apply(image, shape, 3, 0, sample, scratch, normalisation);
  return image;
}

/// Colours of a picture, all between 0.3 and 0.7.
std::vector<float> picture(const Shape& shape) {
  std::vector<float> image;
  for (int64_t i = 0; i < shape.elements(); ++i)
    image.push_back(0.5F + 0.2F * std::sin(static_cast<float>(i) * 1.7F + 0.3F));
  return image;
}

/// Why images cannot be changed so; empty where they can.
std::string refusal(const Augmentation& change, const Shape& shape, std::shared_ptr<const Dataset> set) {
  if (!set) set = open_data(fmt::format("synthetic:{}x{}x{}/2/4", shape[0], shape[1], shape[2])).train;
  return error_of([&] { change.check(*set); });
}

TEST(Augment, AllWordsAreRead) {
  const Augmentation all = Augmentation::parse(
      "crop:1,flip,rotate:2,zoom:3,vertical_flip,shear:4,translate:5,brightness:6,contrast:7,saturation:8,hue:9,"
      "cutout:10,erase:11,resized_crop:12");
  EXPECT_TRUE(all.vertical_flip);
  EXPECT_EQ(all.shear, 4.0F);
  EXPECT_EQ(all.translate, 0.05F);
  EXPECT_EQ(all.brightness, 0.06F);
  EXPECT_EQ(all.contrast, 0.07F);
  EXPECT_EQ(all.saturation, 0.08F);
  EXPECT_EQ(all.hue, 9.0F);
  EXPECT_EQ(all.cutout, 10);
  EXPECT_EQ(all.erase, 0.11F);
  EXPECT_EQ(all.resized_crop, 0.12F);
  for (const char* word : {"vertical_flip", "shear:1", "translate:1", "brightness:1", "contrast:1", "saturation:1",
                           "hue:1", "cutout:1", "erase:1", "resized_crop:1"})
    EXPECT_TRUE(Augmentation::parse(word).any()) << word;
  for (const char* text : {"shear:61", "brightness:101", "cutout:1.5", "vertical_flip:1", "erase", "hue:181", "hues:1"})
    EXPECT_TRUE(says(error_of([&] { Augmentation::parse(text); }), {text, "vertical_flip", "resized_crop:PERCENT"}));
}

TEST(Augment, MirrorsUpsideDown) {
  const Shape shape{5, 4, 2};
  const auto image = picture(shape);
  std::vector<float> turned;
  for (int64_t y = 4; y >= 0; --y) turned.insert(turned.end(), image.begin() + y * 8, image.begin() + y * 8 + 8);
  int mirrored = 0;
  for (int64_t i = 0; i < draws; ++i) {
    const auto now = augmented({.vertical_flip = true}, shape, image, i);
    ASSERT_TRUE(now == image || now == turned);
    mirrored += now == turned;
    // Together with the resampling way: the same pixels to rounding.
    const auto sampled = augmented({.rotate = 1e-5F, .vertical_flip = true}, shape, image, i);
    for (size_t k = 0; k < now.size(); ++k) ASSERT_NEAR(sampled[k], now[k], 1e-4);
  }
  EXPECT_NEAR(mirrored, draws / 2, 60);
}

/// The slopes of a plane after a change, about its middle: 1 a row, 0 a column before.
TEST(Augment, ShearsWithinItsAngle) {
  const Shape shape{21, 31, 1};
  std::vector<float> columns;
  for (int64_t i = 0; i < shape.elements(); ++i) columns.push_back(static_cast<float>(i % 31));
  double least = 0, most = 0;
  for (int64_t i = 0; i < draws; ++i) {
    const auto now = augmented({.shear = 20}, shape, columns, i);
    const auto at = [&](int64_t y, int64_t x) { return double{now[static_cast<size_t>(y * 31 + x)]}; };
    ASSERT_NEAR(at(10, 15), 15, 1e-4);
    ASSERT_NEAR(at(10, 16) - at(10, 15), 1, 1e-4) << "rows are pushed, not stretched";
    const double angle = std::atan(at(11, 15) - at(10, 15)) * 180 / std::numbers::pi;
    ASSERT_NEAR(at(8, 15) - at(10, 15), -2 * (at(11, 15) - at(10, 15)), 1e-4);
    least = std::min(least, angle);
    most = std::max(most, angle);
  }
  EXPECT_NEAR(least, -19.5, 0.52);
  EXPECT_NEAR(most, 19.5, 0.52);
}

TEST(Augment, TranslatesByASharePerSide) {
  const Shape shape{20, 40, 1};
  std::vector<float> plane;
  for (int64_t i = 0; i < shape.elements(); ++i) plane.push_back(static_cast<float>(100 * (i / 40) + i % 40));
  double down = 0, right = 0;
  for (int64_t i = 0; i < draws; ++i) {
    const double moved = double{augmented({.translate = 0.2F}, shape, plane, i)[10 * 40 + 20]} - 1020;
    const double rows = std::round(moved / 100);
    down = std::max(down, std::abs(moved / 100));
    right = std::max(right, std::abs(moved - 100 * rows));
  }
  // A fifth of 20 rows, and of 40 columns (half pixels of rows hide some of these).
  EXPECT_NEAR(down, 4, 0.2);
  EXPECT_GE(right, 7);
}

TEST(Augment, BrightnessAddsAndContrastKeepsTheMean) {
  const Shape shape{6, 5, 3};
  const auto image = picture(shape);
  const auto mean = [&](const std::vector<float>& of, size_t c) {
    double sum = 0;
    for (size_t i = c; i < of.size(); i += 3) sum += of[i];
    return sum / 30;
  };
  double brightest = 0, strongest = 0, weakest = 2;
  for (int64_t i = 0; i < draws; ++i) {
    const auto bright = augmented({.brightness = 0.2F}, shape, image, i);
    const double added = double{bright[0]} - image[0];
    for (size_t k = 0; k < image.size(); ++k) ASSERT_NEAR(double{bright[k]} - image[k], added, 1e-6);
    brightest = std::max(brightest, std::abs(added));
    const auto strong = augmented({.contrast = 0.3F}, shape, image, i);
    const double factor = (double{strong[0]} - mean(image, 0)) / (double{image[0]} - mean(image, 0));
    for (size_t c = 0; c < 3; ++c) ASSERT_NEAR(mean(strong, c), mean(image, c), 1e-5);
    for (size_t k = 0; k < image.size(); ++k)
      ASSERT_NEAR(double{strong[k]} - mean(image, k % 3), factor * (double{image[k]} - mean(image, k % 3)), 1e-5);
    strongest = std::max(strongest, factor);
    weakest = std::min(weakest, factor);
  }
  EXPECT_NEAR(brightest, 0.2, 0.005);
  EXPECT_NEAR(strongest, 1.3, 0.01);
  EXPECT_NEAR(weakest, 0.7, 0.01);
  const auto cut = augmented({.brightness = 1}, shape, image, 1);
  EXPECT_TRUE(std::ranges::all_of(cut, [](float x) { return x >= 0 && x <= 1; }));
}

TEST(Augment, SaturationKeepsTheLumaAndHueValueAndChroma) {
  const Shape shape{4, 4, 3};
  const auto image = picture(shape);
  bool changed = false;
  for (int64_t i = 0; i < 50; ++i) {
    const auto saturated = augmented({.saturation = 0.5F}, shape, image, i);
    const auto turned = augmented({.hue = 20}, shape, image, i);
    for (size_t p = 0; p < image.size(); p += 3) {
      const auto luma = [&](const std::vector<float>& of) {
        return 0.299 * of[p] + 0.587 * of[p + 1] + 0.114 * of[p + 2];
      };
      const auto extremes = [&](const std::vector<float>& of) {
        return std::ranges::minmax({of[p], of[p + 1], of[p + 2]});
      };
      ASSERT_NEAR(luma(saturated), luma(image), 1e-5);
      ASSERT_NEAR(extremes(turned).min, extremes(image).min, 1e-6);
      ASSERT_NEAR(extremes(turned).max, extremes(image).max, 1e-6);
    }
    changed = changed || (saturated != image && turned != image);
  }
  EXPECT_TRUE(changed);
  EXPECT_TRUE(says(refusal({.hue = 1}, {4, 4, 1}, {}), {"[4, 4, 1]", "3 channels"}));
}

/// What torchvision makes of a picture (tests/golden/make_colours.py), of the picture as it is, scaled, and normalised.
TEST(Augment, ColoursAreTorchvisions) {
  const auto golden = test::golden_json("colours.json");
  const auto image = golden["image"].get<std::vector<float>>();
  const Shape shape{golden["height"], golden["width"], 3};
  const Normalisation normalisation{{100, 80, 60}, {50, 60, 70}};
  for (const auto& one : golden["cases"]) {
    const detail::ColourChange change{.contrast = one.value("contrast", 1.0F),
                                      .saturation = one.value("saturation", 1.0F),
                                      .hue = one.value("hue", 0.0F)};
    const auto expected = one["values"].get<std::vector<float>>();
    ASSERT_EQ(expected.size(), image.size());
    auto plain = image, bright = image, normal = image;
    for (size_t k = 0; k < image.size(); ++k) {
      bright[k] = image[k] * 255;
      normal[k] = (image[k] * 255 - normalisation.mean[k % 3]) / normalisation.std[k % 3];
    }
    detail::change_colours(change, plain, shape, nullptr);
    detail::change_colours(change, bright, shape, nullptr, {0, 255});
    detail::change_colours(change, normal, shape, &normalisation, {0, 255});
    // torchvision's grey has 0.2989 of red where BT.601 has 0.299.
    const double tolerance = change.saturation == 1 ? 3e-6 : 3e-4;
    for (size_t k = 0; k < image.size(); ++k) {
      ASSERT_NEAR(plain[k], expected[k], tolerance) << one.dump().substr(0, 80) << " at " << k;
      ASSERT_NEAR(bright[k] / 255, expected[k], tolerance);
      ASSERT_NEAR((normal[k] * normalisation.std[k % 3] + normalisation.mean[k % 3]) / 255, expected[k], tolerance);
    }
  }
}

/// Images of floats, as an array holds them: pixel i of the set is first + i * step.
std::shared_ptr<const Dataset> floats(const Shape& shape, float first, float step) {
  std::vector<float> values;
  for (int64_t i = 0; i < 3 * shape.elements(); ++i) values.push_back(first + static_cast<float>(i) * step);
  Array images{.kind = 'f', .size = 4, .shape = {3, shape[0], shape[1], shape[2]}, .bytes = {}};
  images.bytes.resize(values.size() * 4);
  std::memcpy(images.bytes.data(), values.data(), images.bytes.size());
  return array_dataset(std::move(images), {.kind = 'u', .size = 1, .shape = {3}, .bytes = {0, 1, 2}}, 1);
}

TEST(Augment, ColoursGoByTheRangeOfFloats) {
  const Shape shape{2, 3, 3};  // 54 values
  const auto range = [](const std::shared_ptr<const Dataset>& set) {
    return std::pair(set->range().black, set->range().white);
  };
  EXPECT_EQ(range(floats(shape, 0.1F, 0.01F)), std::pair(0.0F, 1.0F));
  EXPECT_EQ(range(floats(shape, 0, 4)), std::pair(0.0F, 212.0F));
  EXPECT_EQ(range(floats(shape, 100, 1)), std::pair(0.0F, 153.0F));
  EXPECT_EQ(range(floats(shape, -2, 0.0625F)), std::pair(-2.0F, 1.3125F));
  // Of 0 to 212 a tenth is 21.2; standardised values keep their negatives.
  for (const auto& [first, step] : {std::pair{0.0F, 4.0F}, {-2.0F, 0.0625F}}) {
    const auto set = floats(shape, first, step);
    const auto [black, white] = set->range();
    double most = 0;
    for (int64_t epoch = 0; epoch < 50; ++epoch) {
      BatchFeed feed(set, {.batch = 3, .augmentation = {.brightness = 0.1F}, .first_epoch = epoch, .steps = 1});
      const auto& images = feed.next().images;
      // Where nothing is cut, each image has one amount added.
      for (size_t i = 0; i < 3; ++i) {
        const auto at = [&](size_t k) { return double{images[i * 18 + k]}; };
        const auto before = [&](size_t k) { return double{first} + static_cast<double>(i * 18 + k) * double{step}; };
        const double added = at(8) - before(8);
        most = std::max(most, std::abs(added));
        for (size_t k = 0; k < 18; ++k)
          ASSERT_NEAR(at(k), std::clamp(before(k) + added, double{black}, double{white}), 1e-4);
      }
    }
    EXPECT_LE(most, 0.1001 * double{white - black});
    EXPECT_GE(most, 0.09 * double{white - black});
  }
  EXPECT_TRUE(says(refusal({.saturation = 1}, {2, 2, 3}, floats({2, 2, 3}, -1, 0.5F)),
                   {"from -1 to", "below 0", "--normalise"}));
  EXPECT_EQ(refusal({.brightness = 1, .contrast = 1}, {2, 2, 3}, floats({2, 2, 3}, -1, 0.5F)), "");
  EXPECT_TRUE(says(refusal({.contrast = 1}, {2, 2, 3}, floats({2, 2, 3}, 1, INFINITY)), {"not finite"}));
}

TEST(Augment, ThePackedRangeIsThatOfTheSource) {
  const testing::TemporaryFolder folder;
  const std::string file = (folder.path() / "x.pack").string();
  const auto set = floats({4, 6, 3}, 0, 2);
  const auto smaller = resized(set, {2, 2});
  write_packed({"x", smaller, nullptr}, file, false, 1);
  const auto packed = open_data("packed:" + file).train;
  EXPECT_EQ(packed->range().white, set->range().white);
  EXPECT_EQ(subset(normalised(smaller, {{1, 2, 3}, {4, 5, 6}}), {1})->range().white, set->range().white);
  EXPECT_LT(measured_range(*packed).white, set->range().white) << "the negative control";
}

TEST(Augment, ColoursAreThoseBeforeNormalisation) {
  const Shape shape{5, 5, 3};
  const Normalisation normalisation{{0.4F, 0.5F, 0.45F}, {0.25F, 0.2F, 0.3F}};
  const auto image = picture(shape);
  auto normal = image;
  for (size_t k = 0; k < normal.size(); ++k)
    normal[k] = (normal[k] - normalisation.mean[k % 3]) / normalisation.std[k % 3];
  for (const Augmentation& change : {Augmentation{.brightness = 0.9F, .contrast = 0.3F},
                                     Augmentation{.brightness = 0.1F, .contrast = 0.3F, .saturation = 0.9F, .hue = 40}})
    for (int64_t i = 0; i < 50; ++i) {
      const auto plain = augmented(change, shape, image, i);
      const auto changed = augmented(change, shape, normal, i, &normalisation);
      for (size_t k = 0; k < plain.size(); ++k)
        ASSERT_NEAR(changed[k] * normalisation.std[k % 3] + normalisation.mean[k % 3], plain[k], 1e-5);
    }
}

TEST(Augment, CutoutAndErasingBlackenWithinTheirAreas) {
  const Shape shape{20, 30, 2};
  const std::vector<float> white(static_cast<size_t>(shape.elements()), 1.0F);
  std::set<int64_t> areas;
  int erased = 0;
  for (int64_t i = 0; i < draws; ++i) {
    const auto black = [&](const Augmentation& change) {
      const auto now = augmented(change, shape, white, i);
      int64_t top = 20, bottom = -1, left = 30, right = -1, count = 0;
      for (int64_t k = 0; k < shape.elements(); k += 2) {
        EXPECT_EQ(now[static_cast<size_t>(k)], now[static_cast<size_t>(k + 1)]) << "both channels";
        if (now[static_cast<size_t>(k)] != 0) continue;
        ++count;
        top = std::min(top, k / 60);
        bottom = std::max(bottom, k / 60);
        left = std::min(left, k / 2 % 30);
        right = std::max(right, k / 2 % 30);
      }
      EXPECT_TRUE(count == 0 || count == (bottom - top + 1) * (right - left + 1)) << "a rectangle";
      return count;
    };
    const int64_t square = black({.cutout = 6});
    EXPECT_LE(square, 36);
    EXPECT_GE(square, 9) << "its middle is inside";
    areas.insert(square);
    const int64_t rectangle = black({.erase = 0.5F});
    erased += rectangle > 0;
    // 2 to 33 % of 600, give or take the rounding of its sides.
    EXPECT_TRUE(rectangle == 0 || (rectangle >= 8 && rectangle <= 215)) << rectangle;
  }
  EXPECT_TRUE(areas.contains(36));
  EXPECT_GE(areas.size(), 4U);
  EXPECT_NEAR(erased, draws / 2, 60);
}

TEST(Augment, ResizedCropsAreInsideAndWithinTheirShare) {
  const Augmentation change{.resized_crop = 0.25F};
  double least = 1, most = 0;
  for (int64_t i = 0; i < draws; ++i) {
    const Crop part = change.choose_crop(5, 1, i)(300, 400);
    ASSERT_GE(part.top, 0);
    ASSERT_GE(part.left, 0);
    ASSERT_LE(part.top + part.height, 300);
    ASSERT_LE(part.left + part.width, 400);
    const double ratio = part.width / part.height, share = part.width * part.height / 120000;
    ASSERT_GE(ratio, 0.74);
    ASSERT_LE(ratio, 1.35);
    least = std::min(least, share);
    most = std::max(most, share);
  }
  EXPECT_NEAR(least, 0.25, 0.02);
  EXPECT_GE(most, 0.9);
  // Of a long image: its middle.
  const Crop middle = Augmentation{.resized_crop = 1}.choose_crop(5, 1, 0)(30, 400);
  EXPECT_EQ(middle.height, 30);
  EXPECT_NEAR(middle.width, 40, 1e-9);
  EXPECT_NEAR(middle.left, 180, 1e-9);
}

TEST(Augment, AllTogetherIsTheSameForEveryNumberOfRanksAndWorkers) {
  const auto data = prepare_data("synthetic:16x12x3/4/50", {.normalise = "auto"}).data.train;
  const auto fed = [&](int64_t ranks, int workers, const Augmentation& augmentation) {
    std::vector<std::vector<float>> steps(5);
    for (int64_t rank = 0; rank < ranks; ++rank) {
      BatchFeed feed(data, {.batch = 16,
                            .lanes = 4,
                            .first_lane = rank * 4 / ranks,
                            .lane_count = 4 / ranks,
                            .shuffle = true,
                            .augmentation = augmentation,
                            .seed = 7,
                            .steps = 5,
                            .workers = workers});
      for (auto& step : steps) {
        const Batch& batch = feed.next();
        step.insert(step.end(), batch.images.begin(), batch.images.end());
      }
    }
    return steps;
  };
  Augmentation all = Augmentation::parse(
      "crop:1,flip,rotate:9,zoom:9,vertical_flip,shear:9,translate:9,brightness:9,contrast:9,saturation:9,hue:9,"
      "cutout:4,erase:50,resized_crop:30");
  const auto one = fed(1, 1, all);
  for (const auto& [ranks, workers] : {std::pair<int64_t, int>{2, 1}, {4, 1}, {1, 3}, {2, 5}})
    EXPECT_TRUE(fed(ranks, workers, all) == one) << ranks << " ranks, " << workers << " workers";
  all.resized_crop = 0;
  EXPECT_FALSE(fed(1, 1, all) == one);
}

}  // namespace
}  // namespace lockstep
