// Going on from a checkpoint: the bits of a run without a break, whatever the ranks and the strategy, and what is
// refused.
#include <gtest/gtest.h>

#include "launch/lockstep.h"
#include "launch/record/checkpoint.h"
#include "launch/record/checkpoint_folder.h"
#include "tests/launch/train/interruption.h"
#include "tests/launch/train/training.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

namespace lockstep {
namespace {

using test::error_of;
using test::says;

/// A run of three epochs of five steps, the last of each short.
struct Spec {
  uint64_t seed = 7;
  int ranks = 1;
  Strategy strategy = {};
  Optimizer optimizer = Adam{.lr = 0.01F};
  Augmentation augmentation = Augmentation::parse("crop:1,flip");
  Schedule schedule = Schedule::from_name("cosine");
  int64_t batch = 40, epochs = 3, samples = 180;
  int lanes = 8;
  int64_t every_steps = 0;
};

struct Ended {
  std::string sha256;
  History history;
};

class Resume : public ::testing::Test {
 protected:
  FitOptions options(const Spec& run) {
    return {
        .epochs = run.epochs,
        .augmentation = run.augmentation,
        .schedule = run.schedule,
        .run = {.batch = run.batch, .lanes = run.lanes, .ranks = run.ranks, .seed = run.seed, .strategy = run.strategy},
        .checkpoints = {.directory = folder_.path(), .every_steps = run.every_steps}};
  }

  /// Trains from a new model, or from the newest checkpoint, until the end, or until so many steps are done in all.
  Ended fit(const Spec& run, bool resumes, int64_t until = 1000, Network network = test::mixed_network()) {
    Model model(std::move(network), runtime_);
    model.compile({.optimizer = run.optimizer});
    FitOptions fit = options(run);
    const auto data = test::digits(run.samples);
    if (resumes) model.resume(folder_.path(), *data, fit);
    test::interrupt_after(until, model, fit);
    Ended ended;
    ended.history = model.fit(data, fit);
    ended.sha256 = model.weights_sha256();
    return ended;
  }

  std::string refusal(const Spec& run, Network network = test::mixed_network()) {
    return error_of([&] { fit(run, true, 1000, std::move(network)); });
  }

  Runtime runtime_;
  testing::TemporaryFolder folder_;
};

TEST_F(Resume, ThreeBreaksLeaveTheBitsAndTheEpochs) {
  const Ended straight = fit({}, false);
  ASSERT_EQ(straight.history.epochs.size(), 3U);
  EXPECT_FALSE(straight.history.interrupted);
  const Ended first = fit({}, false, 2);
  EXPECT_TRUE(first.history.interrupted);
  EXPECT_EQ(first.history.steps, 2);
  EXPECT_TRUE(first.history.epochs.empty()) << "an epoch that is interrupted has not ended";
  EXPECT_NE(first.sha256, straight.sha256);
  std::vector<Report> epochs;
  for (const int64_t until : {5, 13, 1000}) {
    Ended next = fit({}, true, until);
    for (Report& report : next.history.epochs) epochs.push_back(report);
    if (until == 1000) {
      EXPECT_EQ(next.sha256, straight.sha256);
      EXPECT_EQ(next.history.steps, 15);
    }
  }
  ASSERT_EQ(epochs.size(), 3U);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(epochs[i].loss, straight.history.epochs[i].loss) << i;
    EXPECT_EQ(epochs[i].accuracy, straight.history.epochs[i].accuracy);
    EXPECT_EQ(epochs[i].lr, straight.history.epochs[i].lr);
    EXPECT_EQ(epochs[i].epoch, straight.history.epochs[i].epoch);
    EXPECT_EQ(epochs[i].step, straight.history.epochs[i].step);
    EXPECT_EQ(epochs[i].epochs, 3);
  }
}

TEST_F(Resume, RanksAndStrategiesMayChange) {
  for (const Optimizer& optimizer :
       {Optimizer(Adam{.lr = 0.01F}), Optimizer(SGD{.lr = 0.05F, .momentum = 0.9F}, {.global_clipnorm = 0.3F}),
        Optimizer(LAMB{.lr = 0.01F, .weight_decay = 0.1F}, {.clipnorm = 0.1F})}) {
    const std::string sha = fit({.optimizer = optimizer}, false).sha256;
    Strategy zero, pipeline = parse_strategy("stage=2");
    zero.shard_optimizer = true;
    fit({.ranks = 1, .optimizer = optimizer}, false, 3);
    fit({.ranks = 4, .optimizer = optimizer}, true, 6);
    fit({.ranks = 4, .strategy = zero, .optimizer = optimizer}, true, 8);
    fit({.ranks = 8, .strategy = zero, .optimizer = optimizer}, true, 9);
    fit({.ranks = 2, .strategy = pipeline, .optimizer = optimizer}, true, 11);
    EXPECT_EQ(fit({.ranks = 2, .optimizer = optimizer}, true).sha256, sha);
    std::filesystem::remove_all(folder_.path());
  }
}

TEST_F(Resume, EveryStrategyHoldsWhatTheCheckpointHas) {
  // At the end of the run: nothing is computed, all is distributed and put together again.
  fit({.every_steps = 15}, false);
  const auto stored = open_checkpoint(folder_.path());
  const auto sha = stored.manifest()["weights_sha256"].get<std::string>();
  EXPECT_EQ(sha, fit({}, true).sha256);
  for (const char* strategy : {"filter=2", "channel=2", "space_h=2", "stage=4", "data=2,filter=2"}) {
    const int ranks = std::string(strategy).find_first_of("4,") == std::string::npos ? 2 : 4;
    const Ended ended = fit({.ranks = ranks, .strategy = parse_strategy(strategy)}, true);
    EXPECT_EQ(ended.sha256, sha) << strategy;
    EXPECT_EQ(ended.history.steps, 15);
  }
  EXPECT_TRUE(open_checkpoint(folder_.path()).step() == 15);
}

TEST_F(Resume, WithoutTheOptimizersVariablesTheBitsDiffer) {
  const std::string straight = fit({}, false).sha256;
  fit({}, false, 7);
  const Network network = test::mixed_network();
  const auto stored = open_checkpoint(folder_.path());
  Checkpoint forgets = test::contents(stored, network);
  write_checkpoint(stored.folder(), network, forgets);
  EXPECT_EQ(fit({}, true).sha256, straight) << "written again as it was";
  for (Weights& slot : forgets.state.slots)
    for (auto& [name, values] : slot) std::ranges::fill(values, 0.0F);
  write_checkpoint(stored.folder(), network, forgets);
  EXPECT_NE(fit({}, true).sha256, straight);
}

TEST_F(Resume, WhatDecidesTheBitsMustBeTheSame) {
  fit({}, false, 7);
  const auto refuses = [&](const Spec& run, std::initializer_list<std::string> parts) {
    return says(refusal(run), parts);
  };
  EXPECT_TRUE(refuses({.seed = 8}, {"step-000007", "seed is \"7\" in the checkpoint, \"8\" in this run"}));
  EXPECT_TRUE(refuses({.batch = 80}, {"batch is 40 in the checkpoint, 80 in this run"}));
  EXPECT_TRUE(refuses({.lanes = 4}, {"lanes is 8", "4 in this run"}));
  EXPECT_TRUE(refuses({.samples = 181}, {"data/samples is 180", "181"}));
  EXPECT_TRUE(refuses({.optimizer = SGD{.lr = 0.01F}}, {"optimizer/name is", "sgd"}));
  EXPECT_TRUE(refuses({.optimizer = Adam{.lr = 0.02F}}, {"optimizer/lr is 0.01", "0.02"}));
  EXPECT_TRUE(refuses({.augmentation = {}}, {"augmentation/crop is 1 in the checkpoint, 0"}));
  EXPECT_TRUE(refuses({.schedule = {}}, {"schedule/", "in the checkpoint"}));
  EXPECT_TRUE(refuses({.epochs = 4}, {"schedule/steps is 15 in the checkpoint, 20 in this run"}));
  const Symbol image = Input({8, 8, 1});
  Network other("other", Dense(10, {.activation = Activation::softmax})(Flatten()(image)));
  EXPECT_TRUE(says(refusal({}, std::move(other)), {"model is \"mixed\" in the checkpoint, \"other\" in this run"}));
  EXPECT_EQ(refusal({.ranks = 2}), "");
}

TEST_F(Resume, ARunMayGoOnForLongerWhereItsRateDoesNotDependOnThat) {
  const Spec longer{.schedule = {}, .epochs = 4};
  const Ended straight = fit(longer, false);
  fit({.schedule = {}, .every_steps = 15}, false);
  const Ended resumed = fit(longer, true);
  EXPECT_EQ(resumed.sha256, straight.sha256);
  ASSERT_EQ(resumed.history.epochs.size(), 1U);
  EXPECT_EQ(resumed.history.epochs[0].loss, straight.history.epochs[3].loss);
  EXPECT_TRUE(says(refusal({.schedule = {}, .epochs = 2}), {"15 steps of the fit are done already", "not of 10"}));
}

TEST_F(Resume, ABrokenNewestIsRefusedAndThePreviousOneGoesOn) {
  const std::string straight = fit({.every_steps = 4}, false).sha256;
  const auto newest = folder_.path() / "step-000012" / "optimizer.safetensors";
  std::string bytes = testing::read_text(newest);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
  testing::write_file(newest, bytes);
  EXPECT_TRUE(says(refusal({}), {newest.string(), "sha256", "--resume " + (folder_.path() / "step-000008").string()}));
  Model model(test::mixed_network(), runtime_);
  model.compile({.optimizer = Adam{.lr = 0.01F}});
  const FitOptions fit = options({});
  model.resume(folder_.path() / "step-000008", *test::digits(180), fit);
  model.fit(test::digits(180), fit);
  EXPECT_EQ(model.weights_sha256(), straight);
}

TEST_F(Resume, AnInterruptedModelGoesOnItself) {
  const std::string straight = fit({}, false).sha256;
  Model model(test::mixed_network(), runtime_);
  model.compile({.optimizer = Adam{.lr = 0.01F}});
  FitOptions some = options({});
  some.checkpoints = {};
  some.stop_requested = [] { return true; };
  int fits = 0;
  while (model.fit(test::digits(180), some).interrupted) ++fits;
  EXPECT_EQ(model.weights_sha256(), straight);
  EXPECT_EQ(fits, 15) << "one step each";
  EXPECT_EQ(model.steps_resumed(), 0) << "the next fit is a new one";
  const auto file = folder_.path() / "w.safetensors";
  model.save_weights(file);
  Model other(test::mixed_network(), runtime_);
  EXPECT_TRUE(says(error_of<Error>([&] { other.save_weights(file); }), {"no weights"}));
  other.load_weights(file);
  EXPECT_EQ(other.weights(), model.weights());
}

}  // namespace
}  // namespace lockstep
