#include "launch/data/feed/augment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <set>

#include "core/error.h"
#include "launch/data/feed/feed.h"
#include "tests/support/errors.h"

namespace lockstep {
namespace {

using test::error_of;
using test::says;

const Shape shape{5, 4, 2};

/// An image whose every value tells its place.
std::vector<float> places() {
  std::vector<float> image;
  for (int i = 0; i < 40; ++i) image.push_back(static_cast<float>(i));
  return image;
}

std::vector<float> augmented(const Augmentation& augmentation, uint64_t seed, int64_t epoch, int64_t sample) {
  std::vector<float> image = places();
  std::vector<float> scratch;
  augmentation.apply(image, shape, seed, epoch, sample, scratch);
  return image;
}

/// The image shifted and mirrored, pixel by pixel.
std::vector<float> reference(int64_t down, int64_t right, bool mirrored) {
  const std::vector<float> image = places();
  std::vector<float> result;
  for (int64_t y = 0; y < 5; ++y)
    for (int64_t x = 0; x < 4; ++x)
      for (int64_t c = 0; c < 2; ++c) {
        const int64_t row = std::clamp<int64_t>(y + down, 0, 4);
        const int64_t column = std::clamp<int64_t>((mirrored ? 3 - x : x) + right, 0, 3);
        result.push_back(image[static_cast<size_t>((row * 4 + column) * 2 + c)]);
      }
  return result;
}

TEST(Augmentation, IsReadFromText) {
  EXPECT_FALSE(Augmentation::parse("none").any());
  const auto is = [](const std::string& text, int64_t crop, bool flip, float rotate = 0, float zoom = 0) {
    const Augmentation read = Augmentation::parse(text);
    return read.any() && read.crop == crop && read.flip == flip && read.rotate == rotate && read.zoom == zoom;
  };
  EXPECT_TRUE(is("flip", 0, true));
  EXPECT_TRUE(is("crop:4", 4, false));
  EXPECT_TRUE(is("flip,crop:12", 12, true));
  EXPECT_TRUE(is("rotate:7.5", 0, false, 7.5F));
  EXPECT_TRUE(is("zoom:25,crop:1,rotate:180,flip", 1, true, 180, 0.25F));
  for (const char* text :
       {"", "crop", "crop:", "crop:0", "crop:-1", "crop:1.5", "crop:2px", "flip,", "flip,flip", "crop:1,crop:2",
        "crop:99999999999999999999", "Flip", "none,flip", "flip:1", "rotate:181", "rotate:nan", "zoom:0", "zoom:100"})
    EXPECT_TRUE(says(error_of([&] { Augmentation::parse(text); }),
                     {std::string("'").append(text) + "'", "crop:PIXELS,flip,rotate:DEGREES"}))
        << text;
}

TEST(Augmentation, ShiftsAndMirrorsInEveryWayAboutEquallyOften) {
  std::map<std::vector<float>, int> expected;
  for (int64_t down = -1; down <= 1; ++down)
    for (int64_t right = -1; right <= 1; ++right)
      for (bool mirrored : {false, true}) expected[reference(down, right, mirrored)] = 0;
  ASSERT_EQ(expected.size(), 18U);
  constexpr int draws = 18 * 400;
  for (int64_t i = 0; i < draws; ++i) {
    const auto image = augmented({.crop = 1, .flip = true}, 3, i / 100, i % 100);
    ASSERT_TRUE(expected.contains(image)) << "no shift by up to one pixel makes draw " << i;
    ++expected[image];
  }
  // Six standard deviations of a count of 400: about 117.
  for (const auto& [image, count] : expected) EXPECT_NEAR(count, 400, 120);
}

TEST(Augmentation, MirrorsOnlyWhereAsked) {
  std::set<std::vector<float>> flips;
  std::set<std::vector<float>> crops;
  for (int64_t i = 0; i < 500; ++i) {
    flips.insert(augmented({.flip = true}, 1, 0, i));
    crops.insert(augmented({.crop = 1}, 1, 0, i));
  }
  EXPECT_EQ(flips, (std::set{reference(0, 0, false), reference(0, 0, true)}));
  EXPECT_EQ(crops.size(), 9U);
  EXPECT_FALSE(crops.contains(reference(0, 0, true)));
}

/// A plane a + b*row + c*column: bilinear sampling inside it is exact but for rounding.
std::vector<float> plane(const Shape& size) {
  std::vector<float> image;
  for (int64_t y = 0; y < size[0]; ++y)
    for (int64_t x = 0; x < size[1]; ++x) image.push_back(static_cast<float>(100 + 3 * y + 5 * x));
  return image;
}

TEST(Augmentation, TurnsAndZoomsAboutTheMiddle) {
  const Shape size{21, 31, 1};
  std::vector<float> scratch;
  std::vector<double> angles, zooms;
  for (int64_t sample = 0; sample < 400; ++sample) {
    std::vector<float> image = plane(size);
    Augmentation{.rotate = 30, .zoom = 0.2F}.apply(image, size, 1, 0, sample, scratch);
    // The middle stays; the steps to its neighbours tell the matrix, which then holds all around.
    const auto at = [&](int64_t y, int64_t x) { return double{image[static_cast<size_t>(y * 31 + x)]}; };
    const double middle = at(10, 15), by_row = at(11, 15) - middle, by_column = at(10, 16) - middle;
    ASSERT_NEAR(middle, 205, 1e-3);
    // (by_row, by_column) = (3c + 5s, 5c - 3s) for c, s = cosine and sine of the angle over the zoom.
    const double c = (3 * by_row + 5 * by_column) / 34, s = (5 * by_row - 3 * by_column) / 34;
    angles.push_back(std::atan2(s, c) * 180 / std::numbers::pi);
    zooms.push_back(1 / std::hypot(c, s));
    for (int64_t y = 6; y <= 14; ++y)
      for (int64_t x = 11; x <= 19; ++x)
        ASSERT_NEAR(at(y, x), middle + static_cast<double>(y - 10) * by_row + static_cast<double>(x - 15) * by_column,
                    2e-3);
  }
  const auto [least_angle, most_angle] = std::ranges::minmax(angles);
  const auto [least_zoom, most_zoom] = std::ranges::minmax(zooms);
  EXPECT_NEAR(least_angle, -29.5, 0.52);
  EXPECT_NEAR(most_angle, 29.5, 0.52);
  EXPECT_NEAR(least_zoom, 0.805, 0.007);
  EXPECT_NEAR(most_zoom, 1.195, 0.007);
}

TEST(Augmentation, ResamplingKeepsShiftsAndFlips) {
  // Hardly any rotation: the pixels of the way that copies.
  std::vector<float> scratch;
  for (int64_t sample = 0; sample < 50; ++sample) {
    const auto copied = augmented({.crop = 2, .flip = true}, 1, 0, sample);
    const auto sampled = augmented({.crop = 2, .flip = true, .rotate = 1e-5F}, 1, 0, sample);
    for (size_t i = 0; i < copied.size(); ++i) ASSERT_NEAR(sampled[i], copied[i], 1e-3F) << "sample " << sample;
  }
}

TEST(Augmentation, DependsOnSeedEpochAndSampleAlone) {
  const Augmentation augmentation{.crop = 3, .flip = true, .rotate = 10, .zoom = 0.1F};
  EXPECT_EQ(augmented(augmentation, 1, 2, 3), augmented(augmentation, 1, 2, 3));
  int same_seed = 0;
  int same_epoch = 0;
  int same_sample = 0;
  for (int64_t i = 0; i < 100; ++i) {
    const auto one = augmented(augmentation, 1, 2, i);
    same_seed += one == augmented(augmentation, 9, 2, i);
    same_epoch += one == augmented(augmentation, 1, 9, i);
    same_sample += one == augmented(augmentation, 1, 2, i + 100);
  }
  EXPECT_EQ(same_seed, 0);
  EXPECT_EQ(same_epoch, 0);
  EXPECT_EQ(same_sample, 0);
}

class Places final : public Dataset {
 public:
  int64_t size() const override { return 50; }
  Shape image_shape() const override { return shape; }
  int classes() const override { return 2; }
  int32_t read(int64_t index, std::span<float> image) const override {
    std::ranges::copy(places(), image.begin());
    return static_cast<int32_t>(index % 2);
  }
  std::string content_sha256() const override { return ""; }
};

/// The images of six steps, as one rank or more get them.
std::vector<std::vector<float>> fed(int64_t ranks, const Augmentation& augmentation) {
  std::vector<std::vector<float>> steps(6);
  for (int64_t rank = 0; rank < ranks; ++rank) {
    BatchFeed feed(std::make_shared<Places>(), {.batch = 16,
                                                .lanes = 8,
                                                .first_lane = rank * 8 / ranks,
                                                .lane_count = 8 / ranks,
                                                .shuffle = true,
                                                .augmentation = augmentation,
                                                .seed = 7,
                                                .steps = 6});
    for (auto& step : steps) {
      const Batch& batch = feed.next();
      step.insert(step.end(), batch.images.begin(), batch.images.end());
    }
  }
  return steps;
}

TEST(Augmentation, IsTheSameForEveryNumberOfRanks) {
  const Augmentation augmentation{.crop = 2, .flip = true, .rotate = 10, .zoom = 0.1F};
  const auto one = fed(1, augmentation);
  EXPECT_EQ(fed(2, augmentation), one);
  EXPECT_EQ(fed(8, augmentation), one);
  EXPECT_NE(fed(1, {}), one) << "the feed does not augment";
  // The short last batch is padded after its two samples, and padding stays as it is.
  for (size_t i = size_t{2} * 40; i < size_t{16} * 40; ++i) EXPECT_EQ(one[3][i], 0.0F);
}

}  // namespace
}  // namespace lockstep
