#include "launch/data/augment.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "core/error.h"
#include "launch/data/feed.h"
#include "tests/temporary_folder.h"

namespace lockstep {
namespace {

using testing::error_of;
using testing::says;

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
  EXPECT_FALSE(Augmentation::parse("none"));
  const auto is = [](const std::string& text, int64_t crop, bool flip) {
    const Augmentation read = Augmentation::parse(text);
    return read.crop == crop && read.flip == flip;
  };
  EXPECT_TRUE(is("flip", 0, true));
  EXPECT_TRUE(is("crop:4", 4, false));
  EXPECT_TRUE(is("crop:4,flip", 4, true));
  EXPECT_TRUE(is("flip,crop:12", 12, true));
  for (const char* text : {"", "crop", "crop:", "crop:0", "crop:-1", "crop:1.5", "crop:2px", "flip,", "flip,flip", "crop:1,crop:2",
                           "crop:99999999999999999999", "Flip", "none,flip"})
    EXPECT_TRUE(says(error_of<InputError>([&] { Augmentation::parse(text); }),
                     {std::string("'").append(text) + "'", "crop:PIXELS,flip"}))
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

TEST(Augmentation, DependsOnSeedEpochAndSampleAlone) {
  const Augmentation augmentation{.crop = 3, .flip = true};
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
  // 98 ways: about one in a hundred is met again by chance.
  EXPECT_LT(same_seed, 10);
  EXPECT_LT(same_epoch, 10);
  EXPECT_LT(same_sample, 10);
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
  const Augmentation augmentation{.crop = 2, .flip = true};
  const auto one = fed(1, augmentation);
  EXPECT_EQ(fed(2, augmentation), one);
  EXPECT_EQ(fed(8, augmentation), one);
  EXPECT_NE(fed(1, {}), one) << "the feed does not augment";
  // The short last batch is padded behind its two samples, and padding stays as it is.
  for (size_t i = size_t{2} * 40; i < size_t{16} * 40; ++i) EXPECT_EQ(one[3][i], 0.0F);
}

}  // namespace
}  // namespace lockstep
