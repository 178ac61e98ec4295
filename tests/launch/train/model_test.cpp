// compile, fit, evaluate and predict on real images: that they learn, and that they agree with each other.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "launch/lockstep.h"
#include "tests/launch/data/sample.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

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

TEST(Model, CompileStartsTheOptimizerAnew) {
  Trained fresh(0), used(2);
  fresh.model.set_weights(used.model.weights());
  fresh.model.compile({.optimizer = Adam{.lr = 0.003F}});
  used.model.compile({.optimizer = Adam{.lr = 0.003F}});
  fresh.fit(1);
  used.fit(1);
  EXPECT_EQ(fresh.model.weights_sha256(), used.model.weights_sha256());
}

TEST(Model, EachFitBeginsAnEpoch) {
  Trained trained(0);
  trained.run.batch = 64;
  EXPECT_EQ(trained.model.fit(trained.data.train, {.steps = 5, .run = trained.run}).epochs.at(0).epoch, 0);
  trained.run.batch = 32;  // another number of steps an epoch
  std::vector<int64_t> steps_in_epoch, steps;
  const auto note = [&](Training&, const Report& report) {
    steps_in_epoch.push_back(report.step_in_epoch);
    steps.push_back(report.step);
  };
  const History history = trained.model.fit(
      trained.data.train, {.epochs = 1, .run = trained.run, .callbacks = {lambda_callback({.on_step_end = note})}});
  ASSERT_EQ(history.epochs.size(), 1U);
  EXPECT_EQ(history.epochs[0].epoch, 1);
  EXPECT_EQ(history.epochs[0].epochs, 2);
  ASSERT_EQ(steps.size(), 45U) << "every sample once";
  EXPECT_EQ(steps_in_epoch.front(), 0);
  EXPECT_EQ(steps_in_epoch.back(), 44);
  EXPECT_EQ(steps.front(), 5) << "the optimizer's count goes on";
}

TEST(Model, PredictsWithTheThreadsOfTheRun) {
  Trained trained(1);
  RunOptions two = trained.run;
  two.ranks = 1;
  two.threads = 2;
  const auto bits = [&] { return trained.model.predict(trained.data.test, two); };
  EXPECT_EQ(bits(), bits());
  trained.run.ranks = 4;
  const auto four = trained.model.predict(trained.data.test, trained.run);
  trained.run.ranks = 1;
  EXPECT_EQ(four, trained.model.predict(trained.data.test, trained.run));
}

TEST(Model, PredictsAnOutputThatIsAView) {
  Runtime runtime;
  const Data data = prepare_data("digits").data;
  const RunOptions run{.batch = 32, .lanes = 4};
  const Symbol image = Input({8, 8, 1});
  const Symbol features = Conv2D(2, {3, 3}, {.activation = Activation::relu})(image);
  Model images(Network("images", features), runtime), flat(Network("flat", Flatten()(features)), runtime);
  EXPECT_EQ(images.network().output_shape(), (Shape{6, 6, 2}));
  EXPECT_EQ(flat.predict(data.test, run).size(), 360U * 72);
}

TEST(Model, ANaNWeightIsFoundAtItsNode) {
  Trained trained(1);
  Weights weights = trained.model.weights();
  for (float& weight : weights.at("dense/kernel")) weight = std::numeric_limits<float>::quiet_NaN();
  trained.model.set_weights(weights);
  EXPECT_TRUE(std::isnan(trained.model.evaluate(trained.data.test, trained.run).loss));
  trained.run.check_finite = true;
  try {
    trained.model.evaluate(trained.data.test, trained.run);
    ADD_FAILURE() << "nothing was found";
  } catch (const Error& error) {
    EXPECT_TRUE(std::string(error.what()).find("node 'dense' (dense) yields nan") != std::string::npos) << error.what();
  }
}

TEST(Model, WeightsThatAreNotFiniteEndTheFitAndAreNotWritten) {
  const testing::TemporaryFolder folder;
  const std::string file = (folder.path() / "w.safetensors").string();
  for (const int ranks : {1, 2}) {
    Trained trained(0);
    trained.run.ranks = ranks;
    FitOptions one{.steps = 1, .run = trained.run, .callbacks = {std::make_shared<ModelCheckpoint>(file)}};
    trained.model.fit(trained.data.train, one);
    const Weights good = trained.model.weights();
    const std::string written = testing::read_text(file), sha = trained.model.weights_sha256();
    trained.model.compile({.optimizer = Adam{.lr = 1e38F}});
    const auto refused = [&] {
      const std::string error = test::error_of<Error>([&] { trained.model.fit(trained.data.train, one); });
      EXPECT_EQ(trained.model.weights(), good) << "the model is as it was";
      return error;
    };
    EXPECT_TRUE(test::says(refused(), {file + "' is not written", "conv2d/kernel", "[6, 5, 5, 1]", "holds "}));
    one.callbacks.clear();
    EXPECT_TRUE(test::says(refused(), {"the weights after step 1 are not finite: 'conv2d/kernel'"}));
    EXPECT_EQ(trained.model.weights_sha256(), sha);
    Weights bad = good;
    bad.at("dense/bias")[7] = std::numeric_limits<float>::quiet_NaN();
    trained.model.set_weights(bad);
    EXPECT_TRUE(test::says(test::error_of<Error>([&] { trained.model.save_weights(file); }),
                           {"'dense/bias' [120] holds nan as its element 7"}));
    EXPECT_EQ(testing::read_text(file), written);
  }
}

/// A user's data set of which one sample is broken.
class Broken final : public Dataset {
 public:
  Broken(int64_t sample, bool label) : sample_(sample), label_(label) {}
  int64_t size() const override { return 256; }
  Shape image_shape() const override { return {28, 28, 1}; }
  int classes() const override { return 10; }
  int32_t read(int64_t index, std::span<float> image) const override {
    std::fill(image.begin(), image.end(), 0.5F);
    if (index == sample_ && !label_) throw InputError("sample {} cannot be decoded", index);
    return index == sample_ ? 10 : static_cast<int32_t>(index % 10);
  }
  std::string content_sha256() const override { return "none"; }

 private:
  int64_t sample_;
  bool label_;
};

TEST(Model, ABrokenSampleEndsAllRanksAndIsNamed) {
  for (const auto& [label, message] :
       {std::pair{false, "sample 200 cannot be decoded"}, {true, "sample 200 has label 10, expected 0 to 9"}}) {
    Trained trained(0);
    trained.run.ranks = 4;
    try {
      trained.model.fit(std::make_shared<Broken>(200, label), {.epochs = 1, .run = trained.run});
      ADD_FAILURE() << "it was trained on";
    } catch (const InputError& error) {
      EXPECT_TRUE(std::string(error.what()).starts_with("rank ")) << error.what();
      EXPECT_TRUE(std::string(error.what()).ends_with(message)) << error.what();
    }
    EXPECT_TRUE(trained.model.weights().empty()) << "a failed fit leaves the model as it was";
  }
}

TEST(Model, ANetworkWithoutASoftmaxIsRefused) {
  Runtime runtime;
  Model model(Network("logits", Dense(10)(Flatten()(Input({8, 8, 1})))), runtime);
  model.compile({});
  try {
    model.fit(prepare_data("digits").data.train, {});
    ADD_FAILURE() << "it was trained";
  } catch (const InputError& error) {
    // After "rank 0: " where another rank has only heard of it.
    EXPECT_TRUE(std::string(error.what())
                    .ends_with("the model ends in 'dense', expected a softmax, which "
                               "sparse_categorical_crossentropy needs"))
        << error.what();
  }
}

TEST(Model, BatchNormOfOneValueALaneIsRefused) {
  Runtime runtime;
  const Symbol x = BatchNormalization().named("norm")(Dense(8)(Flatten()(Input({8, 8, 1}))));
  Model model(Network("n", Dense(10, {.activation = Activation::softmax})(x)), runtime);
  model.compile({});
  const auto data = prepare_data("digits").data.train;
  const auto fit = [&](int64_t batch) {
    return test::error_of([&] { model.fit(data, {.steps = 1, .run = {.batch = batch, .lanes = 8}}); });
  };
  EXPECT_TRUE(test::says(fit(8), {"layer 'norm'", "one value a channel", "f32[1, 8]", "fewer lanes"})) << fit(8);
  EXPECT_EQ(fit(16), "");
}

TEST(Model, OptimizersOutOfRangeAreRefused) {
  Trained trained(0);
  for (const Optimizer& optimizer :
       {Optimizer(Adam{.lr = -1}), Optimizer(Adam{.lr = NAN}), Optimizer(SGD{.lr = INFINITY}),
        Optimizer(Adam{.beta_1 = 1}), Optimizer(SGD{.momentum = -1}), Optimizer(SGD{.weight_decay = NAN})})
    EXPECT_THROW(trained.model.compile({.optimizer = optimizer}), InputError);
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
