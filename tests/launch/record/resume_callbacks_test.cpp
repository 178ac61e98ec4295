// Callbacks that decide what is trained, in a fit that is interrupted: it goes on as if it had not been.
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

constexpr int64_t steps_per_epoch = 5, never = 1000;

struct Ended {
  std::string sha256;
  std::vector<Report> epochs;
  std::optional<int64_t> stopped, best;
  bool interrupted = false;
};

class ResumeCallbacks : public ::testing::Test {
 protected:
  /// A fit that a rate far too high makes worse and worse, so that it is lowered, and at last the fit is stopped, from
  /// a new model or the newest checkpoint, until so many steps are done.
  Ended fit(int ranks, bool resumes, int64_t until = never, int64_t patience = 4) {
    Model model(test::mixed_network(), runtime_);
    model.compile({.optimizer = SGD{.lr = 0.5F, .momentum = 0.9F}});
    const auto data = test::digits(180), validation = test::digits(90);
    const auto stopping =
        std::make_shared<EarlyStopping>(EarlyStoppingOptions{.patience = patience, .restore_best_weights = true});
    FitOptions fit{.epochs = 12,
                   .run = {.batch = 40, .lanes = 4, .ranks = ranks, .seed = 7},
                   .validation_data = validation,
                   .callbacks = {std::make_shared<ReduceLROnPlateau>(
                                     ReduceLROnPlateauOptions{.factor = 0.5F, .patience = 2, .cooldown = 1}),
                                 stopping},
                   .checkpoints = {.directory = folder_.path()}};
    if (resumes) model.resume(folder_.path(), *data, fit);
    test::interrupt_after(until, model, fit);
    const History history = model.fit(data, fit);
    return {model.weights_sha256(), history.epochs, stopping->stopped_epoch(), stopping->best_epoch(),
            history.interrupted};
  }

  Runtime runtime_;
  testing::TemporaryFolder folder_;
};

TEST_F(ResumeCallbacks, TheFitStopsWhereItWouldHaveWithTheSameRatesAndWeights) {
  const Ended straight = fit(1, false);
  ASSERT_TRUE(straight.stopped) << "the fit went on to its end: nothing is shown";
  ASSERT_LT(straight.epochs.back().lr, straight.epochs.front().lr) << "the rate was never lowered";
  ASSERT_LT(*straight.best, *straight.stopped);
  const auto end = static_cast<int64_t>(straight.epochs.size()) * steps_per_epoch;
  // In the first epoch; at the end of one; after the best one; and where the fit was stopped already.
  std::vector<Report> epochs;
  bool resumes = false;
  int ranks = 1;
  for (const int64_t until : {int64_t{2}, steps_per_epoch, (*straight.best + 1) * steps_per_epoch + 3, end, never}) {
    const Ended next = fit(ranks, resumes, until);
    EXPECT_EQ(next.interrupted, until != never);
    epochs.insert(epochs.end(), next.epochs.begin(), next.epochs.end());
    if (until == never) {
      EXPECT_EQ(next.sha256, straight.sha256);
      EXPECT_EQ(next.stopped, straight.stopped);
      EXPECT_EQ(next.best, straight.best);
    }
    resumes = true;
    ranks = ranks == 4 ? 1 : 2 * ranks;
  }
  ASSERT_EQ(epochs.size(), straight.epochs.size());
  for (size_t i = 0; i < epochs.size(); ++i) {
    EXPECT_EQ(epochs[i].lr, straight.epochs[i].lr) << i;
    EXPECT_EQ(epochs[i].validation->loss, straight.epochs[i].validation->loss) << i;
  }
}

TEST_F(ResumeCallbacks, WithoutWhatTheyKeptTheFitEndsOtherwise) {
  const Ended straight = fit(1, false);
  fit(1, false, (*straight.best + 1) * steps_per_epoch + 3);
  const Network network = test::mixed_network();
  const auto stored = open_checkpoint(folder_.path());
  Checkpoint forgets = test::contents(stored, network);
  for (auto& [name, state] : forgets.state.callbacks) state = {};
  write_checkpoint(stored.folder(), network, forgets);
  const Ended other = fit(1, true);
  EXPECT_NE(other.sha256, straight.sha256);
  EXPECT_NE(other.stopped, straight.stopped);
}

TEST_F(ResumeCallbacks, OnlyCallbacksWithTheSameOptionsGoOn) {
  fit(1, false, 7);
  EXPECT_TRUE(says(error_of([&] { fit(1, true, never, 3); }),
                   {"callbacks/1", "patience=4", "in the checkpoint", "patience=3", "in this run"}));
}

}  // namespace
}  // namespace lockstep
