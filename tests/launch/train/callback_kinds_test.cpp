// The callbacks that Keras has: what they do on sequences of made-up measures, and in fits, with the same bits for
// every number of ranks.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <sstream>

#include "launch/lockstep.h"
#include "launch/record/weights_file.h"
#include "tests/launch/train/fake_training.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

namespace lockstep {
namespace {

using test::error_of;
using test::says;
using testing::FakeTraining;

Network small_network() {
  const Symbol x = Conv2D(4, {3, 3}, {.activation = Activation::relu})(Input({8, 8, 1}));
  return {"small", Dense(10, {.activation = Activation::softmax})(Flatten()(x))};
}

const Network& network() {
  static const Network small = small_network();
  return small;
}

std::string read_text(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

/// How many epochs a fit with these losses has, and the value of the weights that are left where they were set.
std::pair<int64_t, float> stopped(const EarlyStoppingOptions& options, const std::vector<double>& losses) {
  FakeTraining training(network(), true);
  EarlyStopping stopping(options);
  training.fit(stopping, losses);
  const auto last = training.stopped ? std::optional(training.epochs - 1) : std::nullopt;
  EXPECT_EQ(stopping.stopped_epoch(), last);
  return {training.epochs, training.set.empty() ? 0 : training.set.at("epochs")[0]};
}

TEST(EarlyStopping, StopsWhereKerasStops) {
  using Pair = std::pair<int64_t, float>;
  const std::vector<double> losses{5, 3, 4, 2, 2.5, 2.4, 2.3, 1, 9, 9};
  EXPECT_EQ(stopped({}, losses), Pair(3, 0)) << "patience 0: at the first epoch without improvement";
  EXPECT_EQ(stopped({.patience = 1}, losses), Pair(3, 0));
  EXPECT_EQ(stopped({.patience = 2}, losses), Pair(6, 0));
  EXPECT_EQ(stopped({.patience = 3}, losses), Pair(7, 0));
  EXPECT_EQ(stopped({.patience = 4}, losses), Pair(10, 0));
  EXPECT_EQ(stopped({.patience = 2, .restore_best_weights = true}, losses), Pair(6, 4));
  EXPECT_EQ(stopped({.patience = 4, .restore_best_weights = true}, losses), Pair(10, 8)) << "not stopped, yet restored";
  EXPECT_EQ(stopped({.min_delta = 1.5, .patience = 2}, losses), Pair(4, 0)) << "2 is better than 3, but by too little";
  EXPECT_EQ(stopped({.min_delta = 2.5, .patience = 2}, losses), Pair(3, 0));
  EXPECT_EQ(stopped({.patience = 2, .baseline = 1.5}, losses), Pair(3, 0)) << "never better than the baseline so far";
  EXPECT_EQ(stopped({.start_from_epoch = 3}, losses), Pair(5, 0));
  EXPECT_EQ(stopped({.monitor = "val_accuracy", .patience = 2}, losses), Pair(6, 0)) << "higher is better";
  EXPECT_EQ(stopped({.patience = 1, .mode = MonitorMode::max}, losses), Pair(2, 0));
  EXPECT_EQ(stopped({.patience = 2}, {NAN, NAN, NAN, 1}), Pair(2, 0)) << "NaN improves nothing";
  EXPECT_EQ(stopped({.patience = 1}, {2, NAN, 1}), Pair(2, 0));
}

TEST(EarlyStopping, RefusesWhatCannotBeMonitored) {
  FakeTraining without(network(), false), with(network(), true);
  EarlyStopping val_loss, misspelt({.monitor = "val_los"}), loss({.monitor = "loss"});
  EXPECT_TRUE(says(error_of([&] { without.fit(val_loss, {1}); }), {"EarlyStopping", "'val_loss'", "no validation"}));
  EXPECT_TRUE(says(error_of([&] { with.fit(misspelt, {1}); }), {"'val_los'", "did you mean 'val_loss'"}));
  EXPECT_EQ(error_of([&] { without.fit(loss, {1, 1}); }), "");
  EXPECT_TRUE(says(error_of([] { EarlyStopping({.patience = -1}); }), {"patience is -1"}));
  EXPECT_TRUE(says(error_of([] { EarlyStopping({.min_delta = NAN}); }), {"min_delta is nan"}));
}

TEST(ReduceLROnPlateau, LowersTheRateWhereKerasDoes) {
  const auto rates = [](const ReduceLROnPlateauOptions& options, const std::vector<double>& losses) {
    FakeTraining training(network(), true);
    ReduceLROnPlateau plateau(options);
    return training.fit(plateau, losses);
  };
  using Rates = std::vector<float>;
  EXPECT_EQ(rates({.factor = 0.5F, .patience = 2}, {3, 2, 2, 2, 2, 2, 2}),
            (Rates{0.5F, 0.5F, 0.5F, 0.5F, 0.25F, 0.25F, 0.125F}));
  EXPECT_EQ(rates({.factor = 0.5F, .patience = 2}, {7, 6, 5, 4, 3, 2, 1}), Rates(7, 0.5F));
  EXPECT_EQ(rates({.factor = 0.5F, .patience = 1, .min_lr = 0.2F}, {2, 2, 2, 2}), (Rates{0.5F, 0.5F, 0.25F, 0.2F}));
  EXPECT_EQ(rates({.factor = 0.5F, .patience = 1, .cooldown = 2}, {2, 2, 2, 2, 2, 2}),
            (Rates{0.5F, 0.5F, 0.25F, 0.25F, 0.125F, 0.125F}));
  EXPECT_TRUE(says(error_of([] { ReduceLROnPlateau({.factor = 1}); }), {"factor is 1"}));
}

TEST(LearningRateScheduler, SetsTheRateOfAnEpoch) {
  FakeTraining training(network(), true);
  LearningRateScheduler halve([](int64_t epoch, float lr) { return epoch % 2 == 1 ? lr / 2 : lr; });
  EXPECT_EQ(training.fit(halve, {1, 1, 1, 1}), (std::vector<float>{0.5F, 0.25F, 0.25F, 0.125F}));
}

TEST(CSVLogger, WritesALineAnEpoch) {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "log.csv";
  FakeTraining training(network(), true);
  CSVLogger log(path);
  training.fit(log, {0.1, 2});
  const std::string header = "epoch,loss,accuracy,val_loss,val_accuracy,lr\n";
  EXPECT_EQ(read_text(path), header + "0,0.0,0.5,0.1,0.9090909090909091,0.5\n1,1.0,0.5,2.0,0.3333333333333333,0.5\n");
  CSVLogger again(path), more(path, {.append = true}), nowhere(folder.path() / "none" / "log.csv");
  EXPECT_TRUE(says(error_of([&] { training.fit(again, {1}); }), {path.string(), "exists"}));
  EXPECT_TRUE(says(error_of([&] { training.fit(nowhere, {1}); }), {"none", "No such"}));
  const std::string before = read_text(path);
  training.fit(more, {3});
  EXPECT_EQ(read_text(path), before + "2,2.0,0.5,3.0,0.25,0.5\n");
}

/// What is left of a fit of a small network on digits.
struct Fitted {
  std::string sha256;
  Weights weights;
  History history;
};

Fitted fit(int ranks, const Callbacks& callbacks, float lr = 0.05F, int64_t epochs = 6) {
  Runtime runtime;
  const Data digits = prepare_data("digits").data;
  Model model(small_network(), runtime);
  model.compile({.optimizer = SGD{.lr = lr, .momentum = 0.9F}});
  Fitted fitted;
  fitted.history = model.fit(
      digits.train, {.epochs = epochs,
                     .run = {.batch = 128, .lanes = 4, .ranks = ranks, .seed = 5, .backend = BackendChoice::cpu},
                     .validation_data = digits.test,
                     .callbacks = callbacks});
  fitted.sha256 = model.weights_sha256();
  fitted.weights = model.weights();
  return fitted;
}

TEST(CallbacksInAFit, EarlyStoppingLeavesTheBestWeightsForEveryNumberOfRanks) {
  // A rate at which the loss goes up and down.
  constexpr float lr = 0.3F;
  const Fitted all = fit(1, {}, lr);
  const auto worse = [&](size_t epoch) {
    return all.history.epochs[epoch].validation->loss >= all.history.epochs[epoch - 1].validation->loss;
  };
  size_t first_worse = 1;
  while (first_worse < 5 && !worse(first_worse)) ++first_worse;
  ASSERT_TRUE(worse(first_worse)) << "no epoch of this fit is worse than the one before";
  const Fitted best = fit(1, {}, lr, static_cast<int64_t>(first_worse));
  for (const int ranks : {1, 2, 4}) {
    const auto stopping = std::make_shared<EarlyStopping>(EarlyStoppingOptions{.restore_best_weights = true});
    const Fitted stopped = fit(ranks, {stopping}, lr);
    EXPECT_EQ(stopped.history.epochs.size(), first_worse + 1);
    EXPECT_EQ(stopped.sha256, best.sha256);
    EXPECT_EQ(stopping->stopped_epoch(), static_cast<int64_t>(first_worse));
    EXPECT_EQ(stopping->best_epoch(), static_cast<int64_t>(first_worse) - 1);
  }
  const Fitted kept = fit(2, {std::make_shared<EarlyStopping>()}, lr);
  EXPECT_NE(kept.sha256, best.sha256) << "without restore_best_weights the last ones stay";
}

TEST(CallbacksInAFit, APlateauLowersTheRateOfTheNextEpoch) {
  std::vector<std::string> hashes;
  for (const int ranks : {1, 4}) {
    // No change is an improvement by 100: so each epoch but the first is one without.
    const Fitted fitted = fit(ranks, {std::make_shared<ReduceLROnPlateau>(
                                         ReduceLROnPlateauOptions{.factor = 0.5F, .patience = 1, .min_delta = 100})});
    ASSERT_EQ(fitted.history.epochs.size(), 6U);
    EXPECT_EQ(fitted.history.epochs[1].lr, 0.05F);
    EXPECT_EQ(fitted.history.epochs[2].lr, 0.025F);
    EXPECT_EQ(fitted.history.epochs[5].lr, 0.05F / 16);
    hashes.push_back(fitted.sha256);
  }
  EXPECT_EQ(hashes[0], hashes[1]);
  EXPECT_NE(hashes[0], fit(1, {}).sha256);
}

TEST(CallbacksInAFit, ModelCheckpointWritesTheBestAndEachNth) {
  const testing::TemporaryFolder folder;
  const auto path = folder.path();
  const auto best = std::make_shared<ModelCheckpoint>((path / "best.safetensors").string(),
                                                      ModelCheckpointOptions{.save_best_only = true});
  const auto all = std::make_shared<ModelCheckpoint>((path / "all/{epoch:02d}-{val_accuracy:.1f}").string(),
                                                     ModelCheckpointOptions{.period = 2});
  const Fitted fitted = fit(2, {best, all}, 0.02F);
  size_t best_epoch = 0;
  for (size_t i = 1; i < 6; ++i)
    if (fitted.history.epochs[i].validation->loss < fitted.history.epochs[best_epoch].validation->loss) best_epoch = i;
  const Fitted at_best = fit(1, {}, 0.02F, static_cast<int64_t>(best_epoch) + 1);
  EXPECT_EQ(read_weights((path / "best.safetensors").string(), network()), at_best.weights);
  for (const size_t epoch : {1U, 3U, 5U}) {
    const auto file =
        path / fmt::format("all/{:02d}-{:.1f}", epoch + 1, fitted.history.epochs[epoch].validation->accuracy);
    EXPECT_TRUE(std::filesystem::exists(file)) << file;
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path / "all"), {}), 3);
  EXPECT_EQ(read_weights(all->written(), network()), fitted.weights);
  const auto refused = [&](const std::string& file) {
    return error_of([&] { fit(2, {std::make_shared<ModelCheckpoint>((path / file).string())}); });
  };
  EXPECT_TRUE(says(refused("{val_los}"), {"{val_los}", "cannot be formatted"}));
  EXPECT_TRUE(says(error_of([] { ModelCheckpoint("x", {.period = 0}); }), {"period is 0"}));
}

}  // namespace
}  // namespace lockstep
