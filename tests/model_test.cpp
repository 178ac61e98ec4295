// compile, fit, evaluate and predict on real images: that they learn, and that they agree with each other.
#include <gtest/gtest.h>

#include <algorithm>

#include "launch/lockstep.h"
#include "tests/sample.h"

namespace lockstep {
namespace {

struct Trained {
  Runtime runtime;
  Data data = prepare_data("digits", {.resize = "28"}).data;
  Model model{zoo_model("lenet5", {28, 28, 1}, 10), runtime};

  explicit Trained(int64_t epochs) {
    model.compile({.optimizer = Adam{.lr = 0.003F}});
    if (epochs > 0) fit(epochs);
  }
  History fit(int64_t epochs) { return model.fit(data.train, {.epochs = epochs, .run = run}); }

  RunOptions run{.batch = 32, .lanes = 4, .seed = 3};
};

TEST(Model, LearnsDigits) {
  Trained trained(0);
  const double before = trained.model.evaluate(trained.data.test, trained.run).accuracy;
  const History history = trained.fit(6);
  const Evaluation after = trained.model.evaluate(trained.data.test, trained.run);
  EXPECT_LT(before, 0.3);
  EXPECT_GT(after.accuracy, 0.88);
  EXPECT_EQ(after.samples, 360);
  ASSERT_EQ(history.epochs.size(), 6U);
  EXPECT_EQ(history.steps, 6 * 45);
  EXPECT_LT(history.epochs.back().loss, history.epochs.front().loss / 2);
  for (int64_t i = 0; i < 6; ++i) {
    EXPECT_EQ(history.epochs[static_cast<size_t>(i)].epoch, i);
    EXPECT_EQ(history.epochs[static_cast<size_t>(i)].epochs, 6);
  }
}

TEST(Model, FitGoesOnWhereItStopped) {
  Trained once(3), twice(2);
  EXPECT_NE(once.model.weights_sha256(), twice.model.weights_sha256());
  EXPECT_EQ(twice.fit(1).epochs.at(0).epoch, 2);
  EXPECT_EQ(once.model.weights_sha256(), twice.model.weights_sha256());
}

TEST(Model, PredictsWhatEvaluateCounts) {
  Trained trained(2);
  const auto& test = *trained.data.test;
  const std::vector<float> predictions = trained.model.predict(trained.data.test, trained.run);
  ASSERT_EQ(predictions.size(), 360U * 10);
  int correct = 0;
  for (int64_t i = 0; i < test.size(); ++i) {
    const auto begin = predictions.begin() + i * 10;
    float sum = 0;
    for (int k = 0; k < 10; ++k) sum += begin[k];
    EXPECT_NEAR(sum, 1, 1e-5);
    correct += std::max_element(begin, begin + 10) - begin == testing::label(test, i);
  }
  EXPECT_EQ(static_cast<double>(correct) / 360, trained.model.evaluate(trained.data.test, trained.run).accuracy);
}

TEST(Model, TakesWeightsFromAnother) {
  Trained trained(1), other(0);
  other.model.set_weights(trained.model.weights());
  const Evaluation here = trained.model.evaluate(trained.data.test, trained.run);
  const Evaluation there = other.model.evaluate(other.data.test, other.run);
  EXPECT_EQ(here.loss, there.loss);
  EXPECT_EQ(other.model.weights_sha256(), trained.model.weights_sha256());
}

TEST(Model, LearnsFashionMnist) {
  const auto folder = testing::real_data("fashion-mnist");
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no Fashion-MNIST in " << folder;
  Runtime runtime;
  const Data data = prepare_data("idx:" + folder.string()).data;
  Model model(zoo_model("lenet5", {28, 28, 1}, 10), runtime);
  model.compile({.optimizer = Adam{}});
  const RunOptions run{.batch = 64};
  model.fit(data.train, {.epochs = 1, .run = run});
  EXPECT_GT(model.evaluate(data.test, run).accuracy, 0.8);
}

}  // namespace
}  // namespace lockstep
