// MixUp and CutMix: whom a sample is blended with and how much, and that ranks, lanes and workers change nothing.
#include "launch/data/feed/feed.h"
#include "launch/data/feed/mix.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "launch/lockstep.h"
#include "tests/support/errors.h"

namespace lockstep {
namespace {

using test::error_of;
using test::says;

TEST(Mix, IsReadFromText) {
  const Augmentation both = Augmentation::parse("mixup:0.2,flip,cutmix:1");
  EXPECT_TRUE(both.any() && both.flip && both.mix.mixup == 0.2F && both.mix.cutmix == 1);
  EXPECT_FALSE(Augmentation::parse("flip").mix.any());
  for (const char* text : {"mixup", "mixup:0", "mixup:-1", "cutmix:nan", "cutmix:101", "mixup:1,mixup:2"})
    EXPECT_TRUE(says(error_of([&] { Augmentation::parse(text); }), {text, "mixup:ALPHA,cutmix:ALPHA"})) << text;
}

TEST(Mix, SharesAreBetaDistributed) {
  constexpr int draws = 20000;
  for (double alpha : {0.05, 0.2, 1.0, 1.5, 4.0, 60.0}) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < draws; ++i) {
      const double share = beta_variate(alpha, 3, i / 100, i % 100);
      ASSERT_TRUE(share >= 0 && share <= 1) << share;
      sum += share;
      squares += (share - 0.5) * (share - 0.5);
    }
    // Mean 1/2, variance 1 / (4 (2 alpha + 1)); six standard deviations of their estimates, at most.
    const double variance = 1 / (4 * (2 * alpha + 1));
    EXPECT_NEAR(sum / draws, 0.5, 6 * std::sqrt(variance / draws)) << alpha;
    EXPECT_NEAR(squares / draws, variance, 6 * variance * std::sqrt(2.0 / draws)) << alpha;
  }
  // Beta(1, 1) is uniform, and 1/2 the median of all: counts of 20,000, six standard deviations.
  int below = 0, quarter = 0;
  for (int64_t i = 0; i < draws; ++i) {
    below += beta_variate(2.5, 4, i, 7) < 0.5 ? 1 : 0;
    quarter += beta_variate(1, 4, i, 7) < 0.25 ? 1 : 0;
  }
  EXPECT_NEAR(below, draws / 2, 430);
  EXPECT_NEAR(quarter, draws / 4, 370);
}

TEST(Mix, PartnersAreAPermutationOfTheBatch) {
  std::set<std::vector<int64_t>> orders;
  for (int64_t step = 0; step < 20; ++step) {
    std::vector<int64_t> order;
    for (int64_t i = 0; i < 13; ++i) order.push_back(Mix::partner(5, step, i, 13));
    EXPECT_EQ(std::set(order.begin(), order.end()).size(), 13U);
    EXPECT_EQ(*std::ranges::max_element(order), 12);
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 20U) << "every step pairs again";
}

TEST(Mix, CutsWhatTheTargetsShareSays) {
  const Shape shape{16, 24, 2};
  double shares = 0;
  int cuts = 0;
  for (int64_t i = 0; i < 2000; ++i) {
    const Mix::Blend blend = Mix{.mixup = 0.4F, .cutmix = 1}.blend(2, 9, i, shape);
    std::vector<float> image(16 * 24 * 2, 1.0F);
    blend_images(blend, image, std::vector<float>(image.size(), 0.0F), shape);
    double sum = 0;
    for (float x : image) sum += double{x};
    ASSERT_NEAR(sum / static_cast<double>(image.size()), blend.share, 1e-6);
    cuts += blend.cuts ? 1 : 0;
    if (blend.cuts) shares += blend.share;
    ASSERT_EQ(blend.cuts, std::ranges::all_of(image, [](float x) { return x == 0 || x == 1; }) && blend.cuts);
  }
  EXPECT_NEAR(cuts, 1000, 140) << "either way about equally often";
  // The part that is not cut off at the edges is smaller than the drawn one, whose mean is half.
  EXPECT_GT(shares / cuts, 0.5);
  EXPECT_LT(shares / cuts, 0.75);
}

/// Image i holds i + 1 everywhere, and its class is i.
class Numbered final : public Dataset {
 public:
  int64_t size() const override { return 37; }
  Shape image_shape() const override { return {2, 2, 1}; }
  int classes() const override { return 37; }
  int32_t read(int64_t index, std::span<float> image) const override {
    std::ranges::fill(image, static_cast<float>(index + 1));
    return static_cast<int32_t>(index);
  }
  std::string content_sha256() const override { return ""; }
};

/// Images and targets of six steps, put together from `ranks` ranks.
std::vector<std::vector<float>> fed(int64_t ranks, int64_t lanes, const Augmentation& augmentation, int workers = 1,
                                    uint64_t seed = 7) {
  std::vector<std::vector<float>> steps(6);
  for (int64_t rank = 0; rank < ranks; ++rank) {
    BatchFeed feed(std::make_shared<Numbered>(), {.batch = 16,
                                                  .lanes = lanes,
                                                  .first_lane = rank * lanes / ranks,
                                                  .lane_count = lanes / ranks,
                                                  .shuffle = true,
                                                  .augmentation = augmentation,
                                                  .target = Type{Shape{37}},
                                                  .seed = seed,
                                                  .steps = 6,
                                                  .workers = workers});
    for (auto& step : steps) {
      const Batch& batch = feed.next();
      const auto* targets = reinterpret_cast<const float*>(batch.targets.data());
      for (size_t i = 0; i < batch.labels.size(); ++i) {
        step.insert(step.end(), batch.images.begin() + static_cast<ptrdiff_t>(4 * i),
                    batch.images.begin() + static_cast<ptrdiff_t>(4 * i + 4));
        step.insert(step.end(), targets + 37 * i, targets + 37 * (i + 1));
      }
    }
  }
  return steps;
}

TEST(Mix, TargetsAreBlendedAsImagesAre) {
  const auto steps = fed(1, 4, Augmentation::parse("mixup:1"));
  int blended = 0;
  for (size_t step = 0; step < 6; ++step)
    for (size_t i = 0; i < 16; ++i) {
      const float* image = steps[step].data() + i * 41;
      float sum = 0, expected = 0, largest = 0;
      for (int k = 0; k < 37; ++k) {
        sum += image[4 + k];
        expected += image[4 + k] * static_cast<float>(k + 1);
        largest = std::max(largest, image[4 + k]);
      }
      const bool padding = step % 3 == 2 && i >= 5;
      EXPECT_NEAR(sum, padding ? 0 : 1, 1e-6);
      for (int p = 0; p < 4; ++p) EXPECT_NEAR(image[p], expected, 1e-4);
      blended += !padding && largest < 0.999F ? 1 : 0;
    }
  EXPECT_GT(blended, 60) << "of 74";
}

TEST(Mix, IsTheSameForEveryNumberOfRanksLanesAndWorkers) {
  for (const char* text : {"mixup:0.2", "cutmix:1", "mixup:0.4,cutmix:1,flip"}) {
    const auto augmentation = Augmentation::parse(text);
    const auto one = fed(1, 8, augmentation);
    EXPECT_EQ(fed(2, 8, augmentation), one) << text;
    EXPECT_EQ(fed(4, 8, augmentation), one) << text;
    EXPECT_EQ(fed(1, 2, augmentation), one) << text;
    EXPECT_EQ(fed(2, 8, augmentation, 3), one) << text;
    EXPECT_NE(fed(1, 8, augmentation, 1, 8), one) << text << ": negative control";
    EXPECT_NE(fed(1, 8, {}), one) << text << ": negative control";
  }
}

TEST(Mix, TrainsTheSameBitsForEveryNumberOfRanks) {
  const auto trained = [](int ranks, const std::string& text) {
    Runtime runtime;
    const Data data = prepare_data("digits", {.resize = "28"}).data;
    Model model(zoo_model("lenet5", {28, 28, 1}, 10), runtime);
    model.compile({.loss = "categorical_crossentropy"});
    const FitOptions fit{.steps = 4,
                         .augmentation = Augmentation::parse(text),
                         .run = {.batch = 32, .lanes = 4, .ranks = ranks, .seed = 1}};
    EXPECT_TRUE(std::isfinite(model.fit(data.train, fit).epochs.back().loss));
    return model.weights_sha256();
  };
  const std::string one = trained(1, "mixup:0.2,cutmix:1");
  EXPECT_EQ(trained(2, "mixup:0.2,cutmix:1"), one);
  EXPECT_EQ(trained(4, "mixup:0.2,cutmix:1"), one);
  EXPECT_NE(trained(1, "mixup:0.3,cutmix:1"), one);
}

TEST(Mix, NeedsALossOfDistributions) {
  Runtime runtime;
  const Data data = prepare_data("digits", {.resize = "28"}).data;
  Model model(zoo_model("lenet5", {28, 28, 1}, 10), runtime);
  model.compile({});
  EXPECT_TRUE(
      says(error_of([&] { model.check(*data.train, {.augmentation = Augmentation::parse("mixup:1"), .run = {}}); }),
           {"sparse_categorical_crossentropy", "expected such as categorical_crossentropy"}));
}

}  // namespace
}  // namespace lockstep
