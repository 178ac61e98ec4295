// Data sets of a user's own with other targets than a class: numbers, several classes at once, a class a pixel. That
// they are learned, that their metrics do not depend on how the work is shared, and what does not fit is refused.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "core/random.h"
#include "launch/lockstep.h"
#include "launch/plan/strategy_file.h"
#include "tests/support/errors.h"

namespace lockstep {
namespace {

using test::error_of;
using test::says;

/// Images of noise in [0, 1); what their targets are is for others to say.
class Noise : public Dataset {
 public:
  Noise(int64_t size, int64_t side) : size_(size), side_(side) {}
  int64_t size() const override { return size_; }
  Shape image_shape() const override { return {side_, side_, 1}; }
  int classes() const override { return 0; }
  int32_t read(int64_t index, std::span<float> image) const override {
    const Random random(9, Purpose::data);
    for (size_t i = 0; i < image.size(); ++i) image[i] = to_uniform(random.bits(static_cast<uint64_t>(index), i)[0]);
    return 0;
  }
  std::string content_sha256() const override { return "noise"; }

 protected:
  std::vector<float> image(int64_t index) const {
    std::vector<float> floats(static_cast<size_t>(side_ * side_));
    read(index, floats);
    return floats;
  }
  /// The mean of a quarter of the image.
  float quarter(int64_t index, int64_t which) const {
    const std::vector<float> all = image(index);
    float sum = 0;
    for (int64_t y = 0; y < side_ / 2; ++y)
      for (int64_t x = 0; x < side_ / 2; ++x)
        sum += all[static_cast<size_t>((y + which / 2 * side_ / 2) * side_ + x + which % 2 * side_ / 2)];
    return 4 * sum / static_cast<float>(side_ * side_);
  }

 private:
  int64_t size_, side_;
};

/// Regression: four times how bright each of the upper quarters is.
class Brightness final : public Noise {
 public:
  using Noise::Noise;
  Type target() const override { return {Shape{2}}; }
  void read_target(int64_t index, std::span<std::byte> target) const override {
    const float both[] = {4 * quarter(index, 0), 4 * quarter(index, 1)};
    std::memcpy(target.data(), both, target.size());
  }
};

/// Several yes or no at once: whether each quarter is brighter than grey.
class Bright final : public Noise {
 public:
  using Noise::Noise;
  Type target() const override { return {Shape{4}}; }
  void read_target(int64_t index, std::span<std::byte> target) const override {
    float all[4];
    for (int64_t k = 0; k < 4; ++k) all[k] = quarter(index, k) > 0.5F ? 1 : 0;
    std::memcpy(target.data(), all, target.size());
  }
};

/// Segmentation: each pixel is dark, grey or bright.
class Shades final : public Noise {
 public:
  explicit Shades(int64_t size, int32_t wrong = 0) : Noise(size, 8), wrong_(wrong) {}
  int classes() const override { return 3; }
  Type target() const override { return {Shape{8, 8}, DType::i32}; }
  void read_target(int64_t index, std::span<std::byte> target) const override {
    const std::vector<float> pixels = image(index);
    std::vector<int32_t> shades;
    for (float x : pixels) shades.push_back(static_cast<int32_t>(3 * x) + wrong_);
    std::memcpy(target.data(), shades.data(), target.size());
  }

 private:
  int32_t wrong_;
};

Network regression() {
  return Sequential("regression", Input({4, 4, 1}), Flatten(), Dense(16, {.activation = Activation::relu}), Dense(2));
}
Network several() {
  return Sequential("several", Input({4, 4, 1}), Flatten(), Dense(16, {.activation = Activation::relu}), Dense(4));
}
Network segmentation(int64_t classes = 3) {
  return Sequential("segmentation", Input({8, 8, 1}),
                    Conv2D(12, {3, 3}, {.padding = Padding::same, .activation = Activation::relu}),
                    Conv2D(classes, {1, 1}, {.activation = Activation::softmax}));
}

/// What a training has measured, to the last bit.
struct Outcome {
  std::string sha256;
  std::vector<std::vector<double>> epochs, tested;
  bool operator==(const Outcome&) const = default;
};

struct Task {
  Network network;
  CompileOptions compile;
  std::shared_ptr<const Dataset> data;
  RunOptions run{.batch = 16, .lanes = 4, .seed = 5};
};

Outcome train(const Task& task, int ranks, int64_t epochs = 2, const std::string& strategy = "data") {
  Runtime runtime;
  Model model(task.network, runtime);
  model.compile(task.compile);
  RunOptions run = task.run;
  run.ranks = ranks;
  run.strategy = read_strategy(strategy);
  const History history = model.fit(task.data, {.epochs = epochs, .run = run});
  const Evaluation tested = model.evaluate(task.data, run);
  Outcome outcome{model.weights_sha256(), {}, {{tested.loss}}};
  for (const Report& epoch : history.epochs) {
    outcome.epochs.push_back({double{epoch.loss}});
    for (const MetricValue& metric : epoch.metrics) outcome.epochs.push_back(metric.values);
  }
  for (const MetricValue& metric : tested.metrics) outcome.tested.push_back(metric.values);
  return outcome;
}

// 50 samples do not fill batches of 16, nor lanes of 4.
Task regression_task(Loss loss = "mse") {
  return {regression(),
          {.optimizer = Adam{.lr = 0.01F}, .loss = loss, .metrics = {"mae", "mse"}},
          std::make_shared<Brightness>(50, 4)};
}
Task several_task() {
  return {several(),
          {.optimizer = Adam{.lr = 0.01F},
           .loss = BinaryCrossentropy{.from_logits = true},
           .metrics = {"accuracy", "f1_score", "precision", "recall", "confusion_matrix"}},
          std::make_shared<Bright>(50, 4)};
}
Task segmentation_task(Loss loss = "sparse_categorical_crossentropy") {
  return {segmentation(),
          {.optimizer = Adam{.lr = 0.01F}, .loss = loss, .metrics = {"accuracy", "mean_iou", "top_k:2", "f1"}},
          std::make_shared<Shades>(50)};
}

TEST(Targets, AreLearned) {
  const Outcome values = train(regression_task(), 1, 60);
  EXPECT_LT(values.epochs[59 * 3][0], values.epochs[0][0] / 10) << "the loss";
  EXPECT_LT(values.tested[1][0], 0.35) << "the mean absolute error, of numbers from 0 to 4";
  EXPECT_EQ(values.tested[2][0], values.tested[0][0]) << "the loss is the metric mse";
  const Outcome bits = train(several_task(), 1, 60);
  EXPECT_GT(bits.tested[1][0], 0.9) << "accuracy";
  EXPECT_GT(bits.tested[2][0], 0.9) << "f1_score";
  const Outcome pixels = train(segmentation_task(), 1, 60);
  EXPECT_GT(pixels.tested[1][0], 0.8) << "accuracy";
  EXPECT_GT(pixels.tested[2][0], 0.6) << "mean_iou";
}

TEST(Targets, OfEveryKindGiveTheSameBitsForEveryNumberOfRanks) {
  const std::vector<Task> tasks{regression_task(), regression_task(Huber{.delta = 0.5F}), several_task(),
                                segmentation_task(),
                                segmentation_task(CategoricalFocalCrossentropy{.label_smoothing = 0.1F})};
  for (const Task& task : tasks) {
    const Outcome one = train(task, 1);
    EXPECT_EQ(train(task, 2), one) << task.compile.loss.name();
    EXPECT_EQ(train(task, 4), one) << task.compile.loss.name();
    Task other = task;
    other.run.seed = 6;
    EXPECT_FALSE(train(other, 1) == one) << "negative control";
  }
}

TEST(Targets, StagesOfAPipelineMeasureWhatOneRankDoes) {
  for (const Task& task : {regression_task(), several_task(), segmentation_task()})
    EXPECT_EQ(train(task, 2, 2, "stage=2"), train(task, 1)) << task.compile.loss.name();
}

TEST(Targets, MetricsAreMadeOfSumsOverAllSamples) {
  const Outcome outcome = train(several_task(), 2, 8);
  const auto& matrix = outcome.tested[5];
  EXPECT_EQ(matrix[0] + matrix[1] + matrix[2] + matrix[3], 50 * 4) << "padding counts for nothing";
  EXPECT_DOUBLE_EQ(outcome.tested[1][0], (matrix[0] + matrix[3]) / 200);
  EXPECT_DOUBLE_EQ(outcome.tested[2][0], 2 * matrix[3] / (2 * matrix[3] + matrix[1] + matrix[2]));
  EXPECT_DOUBLE_EQ(outcome.tested[3][0], matrix[3] / (matrix[3] + matrix[1]));
  EXPECT_DOUBLE_EQ(outcome.tested[4][0], matrix[3] / (matrix[3] + matrix[2]));
}

TEST(Targets, ClassesStandForDistributions) {
  const auto trained = [](Loss loss) {
    Runtime runtime;
    const Data data = prepare_data("digits", {.resize = "28"}).data;
    Model model(zoo_model("lenet5", {28, 28, 1}, 10), runtime);
    model.compile({.optimizer = SGD{.lr = 0.05F}, .loss = loss});
    return model.fit(data.train, {.steps = 12, .run = {.batch = 32, .lanes = 4}}).epochs.back();
  };
  const Report sparse = trained("sparse_categorical_crossentropy"), dense = trained("categorical_crossentropy");
  EXPECT_NEAR(sparse.loss, dense.loss, 1e-5);
  EXPECT_EQ(sparse.accuracy, dense.accuracy);
  EXPECT_GT(trained(CategoricalCrossentropy{.label_smoothing = 0.5F}).loss, dense.loss + 0.01F);
}

TEST(Targets, TwoClassesAreOneNumber) {
  class Dark final : public Noise {
   public:
    using Noise::Noise;
    int classes() const override { return 2; }
    int32_t read(int64_t index, std::span<float> image) const override {
      Noise::read(index, image);
      return index % 2 == 0 ? 1 : (std::ranges::fill(image, 0.0F), 0);
    }
  };
  const Task task{Sequential("one", Input({4, 4, 1}), Flatten(), Dense(1)),
                  {.optimizer = Adam{.lr = 0.05F}, .loss = BinaryCrossentropy{.from_logits = true}},
                  std::make_shared<Dark>(50, 4)};
  EXPECT_EQ(train(task, 1, 20).tested[1][0], 1) << "accuracy, measured unasked";
}

TEST(Targets, ThatTheLossCannotTakeAreRefused) {
  const auto refusal = [](const Network& network, const Loss& loss, std::shared_ptr<const Dataset> data,
                          FitOptions fit = {}) {
    Runtime runtime;
    Model model(network, runtime);
    return error_of([&] {
      model.compile({.loss = loss});
      model.check(*data, fit);
    });
  };
  const auto numbers = std::make_shared<Brightness>(50, 4);
  const auto pixels = std::make_shared<Shades>(50);
  EXPECT_TRUE(says(refusal(regression(), "sparse_categorical_crossentropy", numbers),
                   {"targets are numbers, f32[2]", "sparse_categorical_crossentropy", "'regression'",
                    "takes class indices, i32[]"}));
  EXPECT_TRUE(says(refusal(several(), "mse", numbers), {"f32[2]", "mean_squared_error", "takes numbers, f32[4]"}));
  EXPECT_TRUE(says(refusal(segmentation(), "mae", pixels),
                   {"one of 3 classes, as i32[8, 8]", "mean_absolute_error", "f32[8, 8, 3]"}));
  EXPECT_TRUE(says(refusal(segmentation(2), "sparse_categorical_crossentropy", pixels),
                   {"3 classes", "ends in [8, 8, 2], expected [8, 8, 3]"}));
  EXPECT_EQ(refusal(segmentation(4), "sparse_categorical_crossentropy", pixels), "");
  EXPECT_TRUE(says(
      refusal(segmentation(), "sparse_categorical_crossentropy", pixels, {.augmentation = {.flip = true}, .run = {}}),
      {"targets of i32[8, 8]", "expected no augmentation"}));
  Runtime runtime;
  Model model(segmentation(), runtime);
  model.compile({});
  EXPECT_TRUE(says(
      error_of([&] { model.fit(std::make_shared<Shades>(50, 1), {.run = {.batch = 16, .lanes = 4, .ranks = 1}}); }),
      {"has label 3, expected 0 to 2"}));
}

}  // namespace
}  // namespace lockstep
