// A U-Net learns which pixels of noisy images belong to a disc and which to a bar: that other images are cut out well,
// and that the weights do not depend on the number of ranks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/random.h"
#include "launch/lockstep.h"

namespace lockstep {
namespace {

constexpr int64_t side = 32;
enum : int32_t { background, disc, bar };

/// One figure an image, brighter than what is around it by less than the noise: a pixel by itself does not tell what
/// it belongs to, and discs and bars differ in nothing but their form. Images of other seeds are others.
class Figures final : public Dataset {
 public:
  Figures(int64_t size, uint64_t seed) : size_(size), seed_(seed) {}
  int64_t size() const override { return size_; }
  Shape image_shape() const override { return {side, side, 1}; }
  int classes() const override { return 3; }
  Type target() const override { return {Shape{side, side}, DType::i32}; }
  int32_t read(int64_t index, std::span<float> image) const override {
    const Random noise(seed_, Purpose::data, 1);
    const std::vector<int32_t> classes = pixels(index);
    for (size_t i = 0; i < image.size(); ++i)
      image[i] = 0.6F * to_uniform(noise.bits(static_cast<uint64_t>(index), i / 4)[i % 4]) +
                 (classes[i] == background ? 0.0F : 0.4F);
    return 0;
  }
  void read_target(int64_t index, std::span<std::byte> target) const override {
    std::memcpy(target.data(), pixels(index).data(), target.size());
  }
  std::string content_sha256() const override { return fmt::format("figures {} {}", seed_, size_); }

 private:
  std::vector<int32_t> pixels(int64_t index) const {
    const Random random(seed_, Purpose::data);
    const auto from = random.bits(static_cast<uint64_t>(index), 0);
    const bool round = random.bits(static_cast<uint64_t>(index), 1)[0] % 2 == 0, lies = from[0] % 2 == 0;
    const auto between = [](float low, float high, uint32_t bits) { return low + (high - low) * to_uniform(bits); };
    const float radius = between(4, 7, from[1]);
    const float row = between(11, 21, from[2]), column = between(11, 21, from[3]);
    // A bar is three times as long as wide, and as large as the disc.
    const float narrow = 0.5117F * radius, wide = 3 * narrow;
    std::vector<int32_t> classes;
    for (int64_t i = 0; i < side * side; ++i) {
      const float y = static_cast<float>(i / side) - row, x = static_cast<float>(i % side) - column;
      const bool inside = round ? y * y + x * x < radius * radius
                                : std::abs(y) < (lies ? narrow : wide) && std::abs(x) < (lies ? wide : narrow);
      classes.push_back(!inside ? background : round ? disc : bar);
    }
    return classes;
  }

  int64_t size_;
  uint64_t seed_;
};

/// As zoo's unet, with two levels, eight times fewer filters, and one of its ways up by interpolation.
Network small_unet() {
  const auto convs = [](Symbol x, int64_t filters) {
    for (int i = 0; i < 2; ++i)
      x = Conv2D(filters, {3, 3}, {.padding = Padding::same, .activation = Activation::relu})(x);
    return x;
  };
  const Symbol fine = convs(Input({side, side, 1}), 8);
  const Symbol coarse = convs(MaxPooling2D({2, 2})(fine), 16);
  Symbol x = convs(MaxPooling2D({2, 2})(coarse), 32);
  x = convs(Concatenate()({coarse, Conv2DTranspose(16, {2, 2}, {.strides = {2, 2}})(x)}), 16);
  x = convs(Concatenate()({fine, UpSampling2D({2, 2}, {.interpolation = Interpolation::bilinear})(x)}), 8);
  return Network("small_unet", Conv2D(3, {1, 1}, {.activation = Activation::softmax})(x));
}

/// Sees single pixels alone.
Network pixel_by_pixel() {
  const Conv2DOptions relu{.activation = Activation::relu};
  return Sequential("pixel_by_pixel", Input({side, side, 1}), Conv2D(32, {1, 1}, relu), Conv2D(32, {1, 1}, relu),
                    Conv2D(3, {1, 1}, {.activation = Activation::softmax}));
}

RunOptions shared_by(int ranks, uint64_t seed = 3) { return {.batch = 16, .lanes = 4, .ranks = ranks, .seed = seed}; }

struct Outcome {
  std::vector<Report> epochs;
  double untrained = 0, trained = 0;  // mean_iou of images of another seed
  std::string sha256;
};

Outcome learn(const Network& network, int64_t images, int64_t epochs, const RunOptions& run) {
  Runtime runtime;
  Model model(network, runtime);
  model.compile({.optimizer = Adam{.lr = 0.004F}, .metrics = {"mean_iou"}});
  const auto other = std::make_shared<Figures>(100, 2);
  Outcome outcome;
  outcome.untrained = model.evaluate(other, run).metrics.at(0).values.at(0);
  outcome.epochs = model.fit(std::make_shared<Figures>(images, 1), {.epochs = epochs, .run = run}).epochs;
  outcome.trained = model.evaluate(other, run).metrics.at(0).values.at(0);
  outcome.sha256 = model.weights_sha256();
  return outcome;
}

TEST(Segmentation, AUNetCutsOutFiguresThatItHasNotSeen) {
  const Outcome outcome = learn(small_unet(), 512, 20, shared_by(1));
  EXPECT_LT(outcome.epochs.back().loss, outcome.epochs.front().loss / 5);
  EXPECT_GT(outcome.trained, 0.85);
  EXPECT_LT(outcome.untrained, 0.4) << "negative control";
}

TEST(Segmentation, NeedsMoreThanPixels) {
  const Outcome outcome = learn(pixel_by_pixel(), 512, 20, shared_by(1));
  EXPECT_LT(outcome.trained, 0.5) << "negative control";
}

TEST(Segmentation, HasTheSameBitsForOneAndTwoRanks) {
  const auto sha256 = [](int ranks, uint64_t seed) {
    return learn(small_unet(), 40, 2, shared_by(ranks, seed)).sha256;  // 40 images do not fill three batches
  };
  const std::string one = sha256(1, 3);
  EXPECT_EQ(sha256(2, 3), one);
  EXPECT_NE(sha256(1, 4), one) << "negative control";
}

}  // namespace
}  // namespace lockstep
