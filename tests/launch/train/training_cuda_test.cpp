// Whole training steps on a GPU: the same bits at every run, for every number of ranks that share it, recorded or not;
// and close to the CPU in every precision.
#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "launch/backends/backends.h"
#include "launch/data/feed/feed.h"
#include "launch/model/model.h"
#include "launch/train/device.h"
#include "launch/train/trainer.h"
#include "layers/zoo/zoo.h"
#include "tests/launch/train/training.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

namespace lockstep::test {
namespace {

class TrainingOnGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (gpus().empty()) GTEST_SKIP() << "no GPU (" << gpu_status() << ")";
  }
};

std::vector<StepTrace> train_one(const RunSpec& run) { return train(mixed_network(), run)[0]; }

float loss_of(const StepTrace& step) { return std::bit_cast<float>(step.loss); }

TEST_F(TrainingOnGpu, FiftyStepsHaveTheSameBitsAgain) {
  const RunSpec run{.lanes = 2, .batch = 16, .steps = 50, .cuda = true};
  const auto first = train_one(run);
  EXPECT_EQ(first, train_one(run));
  EXPECT_LT(loss_of(first.back()), loss_of(first.front()));
  RunSpec other = run;
  other.seed = 8;
  EXPECT_NE(first.back(), train_one(other).back());
}

TEST_F(TrainingOnGpu, EveryNumberOfRanksOnOneGpuHasTheSameBits) {
  for (const Precision precision : {Precision::fp32, Precision::fp16}) {
    const RunSpec run{.steps = 4, .cuda = true, .precision = precision};
    const auto one = train_one(run);
    for (int ranks : {2, 4, 8}) {
      RunSpec many = run;
      many.ranks = ranks;
      for (const auto& rank : train(mixed_network(), many)) EXPECT_EQ(rank, one) << ranks;
    }
  }
}

TEST_F(TrainingOnGpu, ReplayedStepsHaveTheBitsOfEnqueuedOnes) {
  for (const Precision precision : {Precision::fp32, Precision::bf16, Precision::fp16}) {
    RunSpec run{.steps = 6, .cuda = true, .precision = precision};
    const auto replayed = train_one(run);
    run.replay = false;
    EXPECT_EQ(replayed, train_one(run));
  }
}

TEST_F(TrainingOnGpu, ImagesThatStayOnTheGpuGiveTheSameBits) {
  for (const int ranks : {1, 2}) {
    RunSpec run{.ranks = ranks, .steps = 8, .cuda = true};  // almost three epochs, the last batch of each is short
    const auto sent = train(mixed_network(), run);
    run.keep_images = true;
    EXPECT_EQ(sent, train(mixed_network(), run)) << ranks;
  }
}

TEST_F(TrainingOnGpu, NegativeControlsAreCaught) {
  const RunSpec run{.steps = 3, .cuda = true};
  const auto one = train_one(run);
  RunSpec swapped = run, flipped = run;
  swapped.swapped_lanes = {0, 2};
  flipped.flip_bit = true;
  EXPECT_NE(one.back().hash, train_one(swapped).back().hash);
  EXPECT_NE(one.back().hash, train_one(flipped).back().hash);
}

TEST_F(TrainingOnGpu, TrainsAsTheCpuDoes) {
  const auto cpu = train_one({.steps = 6});
  // In 32 bits only the order of sums differs; 16 bits keep 11 (fp16) or 8 (bf16) of a value's, TF32 rounds products
  // to 11. Six steps of Adam, whose first ones are as large as the learning rate whatever the gradient, spread that.
  const std::vector<std::pair<Precision, double>> tolerances{
      {Precision::fp32, 2e-3}, {Precision::tf32, 2e-2}, {Precision::fp16, 3e-2}, {Precision::bf16, 1e-1}};
  for (const auto& [precision, tolerance] : tolerances) {
    const auto gpu = train_one({.steps = 6, .cuda = true, .precision = precision});
    for (size_t i = 0; i < cpu.size(); ++i)
      EXPECT_TRUE(std::abs(loss_of(gpu[i]) - loss_of(cpu[i])) <= tolerance * loss_of(cpu[i]))
          << name_of(precision) << " step " << i << ": " << loss_of(gpu[i]) << ", the CPU has " << loss_of(cpu[i]);
  }
}

TEST_F(TrainingOnGpu, FastModeTrains) {
  const auto fast = train_one({.steps = 6, .numerics = Numerics::fast, .cuda = true});
  const auto two = train(mixed_network(), {.ranks = 2, .steps = 6, .numerics = Numerics::fast, .cuda = true});
  EXPECT_LT(loss_of(fast.back()), loss_of(fast.front()));
  EXPECT_EQ(two[0], two[1]);
}

TEST_F(TrainingOnGpu, FitEvaluateAndPredict) {
  Runtime runtime;
  Model model(lenet5({28, 28, 1}, 10), runtime);
  model.compile({.optimizer = Adam{.lr = 0.003F}});
  const auto data = prepare_data("digits", {"28", "auto"}).data;
  const RunOptions run{.batch = 64, .lanes = 4, .ranks = 1, .seed = 3, .backend = BackendChoice::cuda};
  std::vector<int64_t> steps;
  const auto note = [&](Training&, const Report& report) { steps.push_back(report.step); };
  FitOptions fit{.steps = 12, .run = run, .callbacks = {lambda_callback({.on_step_end = note})}};
  model.fit(data.train, fit);
  ASSERT_EQ(steps.size(), 12U);
  for (size_t i = 0; i < steps.size(); ++i) EXPECT_EQ(steps[i], static_cast<int64_t>(i));
  const Evaluation evaluation = model.evaluate(data.test, run);
  EXPECT_GT(evaluation.accuracy, 0.3);
  const auto predictions = model.predict(data.test, run);
  int64_t right = 0;
  for (int64_t i = 0; i < data.test->size(); ++i) {
    const auto* row = predictions.data() + i * 10;
    std::vector<float> image(static_cast<size_t>(data.test->image_shape().elements()));
    right += std::max_element(row, row + 10) - row == data.test->read(i, image);
  }
  EXPECT_EQ(static_cast<double>(right) / static_cast<double>(data.test->size()), evaluation.accuracy);

  // The same weights give the same on the CPU, but for rounding; and steps that overlap are the steps one by one.
  RunOptions cpu = run;
  cpu.backend = BackendChoice::cpu;
  EXPECT_NEAR(model.evaluate(data.test, cpu).loss, evaluation.loss, 1e-4);
  const std::string sha256 = model.weights_sha256();
  Model again(lenet5({28, 28, 1}, 10), runtime);
  again.compile({.optimizer = Adam{.lr = 0.003F}});
  FitOptions slow = fit;
  slow.run.check_finite = true;  // node by node
  again.fit(data.train, slow);
  again.evaluate(data.test, run);
  EXPECT_EQ(again.weights_sha256(), sha256);
}

TEST_F(TrainingOnGpu, LaterEpochsFindTheirImagesOnTheGpu) {
  const auto comms = make_local(1);
  RankContext rank{*comms[0], 0, 1, "here"};
  const StepOptions step{.batch = 8, .lanes = 2};
  const Device device = make_device({.backend = BackendChoice::cuda, .step = step}, rank, false);
  const Network network = mixed_network();
  std::vector<float> losses;
  for (const bool spoil : {false, true}) {
    Trainer trainer(network, {.step = step}, *comms[0], *device.backend, device.kernels);
    EXPECT_FALSE(trainer.keep_images(int64_t{1} << 40, 1));  // does not fit
    ASSERT_TRUE(trainer.keep_images(8, 1));
    BatchFeed feed(digits(8), {.batch = 8, .lanes = 2, .lane_count = 2, .shuffle = true, .once = true, .steps = 2});
    trainer.train(feed.next(), 0.01F);
    Batch second = feed.next();
    EXPECT_TRUE(second.fresh.empty());
    std::ranges::fill(second.images, std::nanf(""));  // not read
    if (spoil) std::swap(second.rows[0], second.rows[5]);
    losses.push_back(trainer.train(second, 0.01F).loss);
  }
  EXPECT_TRUE(std::isfinite(losses[0]));
  EXPECT_NE(losses[0], losses[1]);
}

TEST_F(TrainingOnGpu, ABatchThatDoesNotFitNamesOneThatDoes) {
  const RunSpec run{.lanes = 1, .batch = int64_t{1} << 24, .steps = 1, .cuda = true};
  const auto comms = make_local(1);
  RankContext rank{*comms[0], 0, 1, "here"};
  const StepOptions step{.batch = run.batch, .lanes = run.lanes};
  const Device device = make_device({.backend = BackendChoice::cuda, .step = step}, rank, false);
  const Network network = seed_cnn({64, 64, 3}, 10);
  const std::string error = error_of<InputError>(
      [&] { Trainer(network, {.step = step}, *comms[0], *device.backend, device.kernels).training_plan(); });
  ASSERT_TRUE(says(error, {"batch 16777216 needs", "GiB are free", "a batch of", "would fit"})) << error;
  const int64_t fits = std::stoll(error.substr(error.find("a batch of ") + 11));
  ASSERT_GT(fits, 0);
  Trainer smaller(network, {.step = {.batch = fits, .lanes = 1}}, *comms[0], *device.backend, device.kernels);
  EXPECT_NO_THROW(smaller.training_plan());
}

TEST_F(TrainingOnGpu, FastModeKeepsWhatItHasTimedAndReproducibleModeDoesNotLook) {
  const lockstep::testing::TemporaryFolder folder;
  setenv("XDG_CACHE_HOME", folder.path().c_str(), 1);
  const auto comms = make_local(1);
  RankContext rank{*comms[0], 0, 1, "here"};
  const auto device = [&](Numerics numerics) {
    return make_device({.backend = BackendChoice::cuda, .step = {.numerics = numerics}}, rank, false);
  };
  for (const Numerics numerics : {Numerics::reproducible, Numerics::fast}) {
    const Device first = device(numerics);
    first.engines->keep("a convolution", "engine 7");
    keep_timed_choices(first, numerics);
    EXPECT_EQ(device(Numerics::fast).engines->find("a convolution"), numerics == Numerics::fast ? "engine 7" : "");
  }
  EXPECT_EQ(device(Numerics::reproducible).engines->find("a convolution"), "");
  unsetenv("XDG_CACHE_HOME");
}

TEST_F(TrainingOnGpu, TooFewGpusAreSaidOnEveryRank) {
  const int ranks = static_cast<int>(gpus().size()) + 1;
  const auto comms = make_local(ranks);
  std::vector<std::string> errors(comms.size());
  std::vector<std::thread> threads;
  for (size_t r = 0; r < comms.size(); ++r)
    threads.emplace_back([&, r] {
      RankContext rank{*comms[r], static_cast<int>(r), ranks, "node7"};
      errors[r] = error_of<InputError>([&] { make_device({.backend = BackendChoice::cuda}, rank, true); });
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& error : errors)
    EXPECT_TRUE(says(error, {fmt::format("{} ranks on node7", ranks), "--comm local", "--comm mpi"})) << error;
}

TEST_F(TrainingOnGpu, NanIsNamedWithItsStepAndNode) {
  const auto comms = make_local(1);
  RankContext rank{*comms[0], 0, 1, "here"};
  const StepOptions step{.batch = 8, .lanes = 2};
  const Device device = make_device({.backend = BackendChoice::cuda, .step = step}, rank, false);
  const Network network = mixed_network();
  for (const bool check : {false, true}) {
    Trainer trainer(network, {.step = step, .check_finite = check}, *comms[0], *device.backend, device.kernels);
    Weights weights = trainer.variables().get();
    weights.at("dense/kernel").at(3) = std::nanf("");
    trainer.variables().set(weights);
    BatchFeed feed(digits(8), {.batch = 8, .lanes = 2, .lane_count = 2, .steps = 1});
    const std::string error = error_of<Error>([&] { trainer.train(feed.next(), 0.1F); });
    EXPECT_TRUE(says(error, {"step 0: "})) << error;
    EXPECT_TRUE(says(error, {check ? "node 'dense" : "the loss is nan"})) << error;
  }
}

}  // namespace
}  // namespace lockstep::test
