// The promise: the same bits for every number of ranks, at every step, in all that is trained or kept. And the proof
// that these tests would notice: ring reductions, swapped lanes and one flipped bit are caught.
#include <gtest/gtest.h>

#include "launch/data/feed/feed.h"
#include "launch/train/trainer.h"
#include "layers/cpu/kernels.h"
#include "layers/zoo/zoo.h"
#include "tests/launch/train/training.h"

namespace lockstep::test {
namespace {

std::vector<StepTrace> train_one(const RunSpec& run) { return train(mixed_network(), run)[0]; }

class EveryNumberOfRanks : public testing::TestWithParam<int> {};

TEST_P(EveryNumberOfRanks, GivesTheSameBitsAtEveryStep) {
  for (const Optimizer& optimizer :
       {Optimizer(Adam{}), Optimizer(SGD{.lr = 0.05F, .momentum = 0.9F, .weight_decay = 1e-4F})}) {
    const auto one = train_one({.optimizer = optimizer});
    for (const auto& rank : train(mixed_network(), {.ranks = GetParam(), .optimizer = optimizer})) EXPECT_EQ(rank, one);
  }
}

TEST_P(EveryNumberOfRanks, GivesTheSameBitsForResnet18) {
  const Network resnet = resnet18({8, 8, 1}, 10);
  const RunSpec run{.batch = 16, .samples = 40, .steps = 3};
  RunSpec many = run;
  many.ranks = GetParam();
  EXPECT_EQ(train(resnet, many).back(), train(resnet, run)[0]);
}

INSTANTIATE_TEST_SUITE_P(Ranks, EveryNumberOfRanks, testing::Values(2, 4, 8));

TEST(Numerics, TwoThreadsARankAreAContractOfTheirOwn) {
  const auto one = train_one({.threads = 2});
  for (int ranks : {2, 4})
    for (const auto& rank : train(mixed_network(), {.ranks = ranks, .threads = 2})) EXPECT_EQ(rank, one) << ranks;
}

TEST(Numerics, AnotherSeedGivesOtherBits) {
  const auto a = train_one({.seed = 7}), b = train_one({.seed = 8});
  EXPECT_NE(a.back().hash, b.back().hash);
  EXPECT_NE(a[0].loss, b[0].loss);
}

TEST(Numerics, NegativeControlARingReductionIsCaught) {
  // In fast mode 4 ranks are 4 lanes, whose kernels see the same shapes; only the order of the sums is the ring's.
  const auto tree = train_one({.lanes = 4});
  const auto same_tree = train(mixed_network(), {.ranks = 4, .lanes = 4})[0];
  const auto ring = train(mixed_network(), {.ranks = 4, .lanes = 4, .numerics = Numerics::fast})[0];
  EXPECT_EQ(tree, same_tree);
  EXPECT_NE(tree.back().hash, ring.back().hash);
  // It is the same training all the same: what is caught is the last bit.
  for (size_t i = 0; i < tree.size(); ++i)
    EXPECT_NEAR(std::bit_cast<float>(tree[i].loss), std::bit_cast<float>(ring[i].loss), 1e-4) << i;
}

TEST(Numerics, NegativeControlSwappedLanesAreCaught) {
  EXPECT_NE(train_one({}).back().hash, train_one({.swapped_lanes = {0, 2}}).back().hash);
}

TEST(Numerics, NegativeControlOneFlippedBitIsCaught) {
  EXPECT_NE(train_one({}).back().hash, train_one({.flip_bit = true}).back().hash);
}

TEST(Numerics, OtherLanesAreAnotherContract) {
  EXPECT_NE(train_one({.lanes = 8}).back().hash, train_one({.lanes = 4}).back().hash);
}

TEST_P(EveryNumberOfRanks, GivesTheSameBitsWithALossScale) {
  // So large that the first steps overflow and are skipped, on all ranks or on none.
  const RunSpec run{.loss_scaling = true, .first_scale = LossScale{0x1p127F, 0}};
  const auto one = train_one(run);
  EXPECT_NE(one[0].hash, one[1].hash);
  RunSpec many = run;
  many.ranks = GetParam();
  for (const auto& rank : train(mixed_network(), many)) EXPECT_EQ(rank, one);
}

/// What a rank's training has after each of its steps.
struct Kept {
  Weights weights;
  std::vector<Weights> slots;
  LossScale scale;
  uint32_t loss = 0;
};

std::vector<Kept> train_and_keep(const Network& network, const StepOptions& step, const LossScale& first, int64_t steps,
                                 const Optimizer& optimizer = Adam{}) {
  const auto backend = make_cpu_backend(1);
  const auto comms = make_local(1);
  Trainer trainer(network, {.step = step, .optimizer = optimizer, .seed = 7}, *comms[0], *backend, cpu_kernels());
  trainer.variables().set_loss_scale(first);
  BatchFeed feed(digits(100), {.batch = step.batch, .lanes = step.lanes, .lane_count = step.lanes, .steps = steps});
  std::vector<Kept> kept;
  for (int64_t i = 0; i < steps; ++i) {
    const StepResult result = trainer.train(feed.next(), optimizer.lr());
    const VariableStore& variables = trainer.variables();
    kept.push_back(
        {variables.get(), variables.get_slots(), variables.loss_scale(), std::bit_cast<uint32_t>(result.loss)});
  }
  return kept;
}

TEST(LossScaling, ChangesNoBitWhereNothingOverflows) {
  for (const Optimizer& optimizer : {Optimizer(Adam{}), Optimizer(SGD{.lr = 0.05F, .momentum = 0.9F})}) {
    const auto plain = train_and_keep(mixed_network(), {.batch = 40}, {}, 7, optimizer);
    const auto scaled = train_and_keep(mixed_network(), {.batch = 40, .loss_scaling = true}, {}, 7, optimizer);
    for (size_t i = 0; i < plain.size(); ++i) {
      EXPECT_EQ(scaled[i].weights, plain[i].weights) << i;
      EXPECT_EQ(scaled[i].slots, plain[i].slots) << i;
      EXPECT_EQ(scaled[i].loss, plain[i].loss) << i;
      EXPECT_EQ(plain[i].scale, LossScale{}) << i;
      EXPECT_EQ(scaled[i].scale, (LossScale{65536, static_cast<float>(i + 1)})) << i;
    }
  }
}

TEST(LossScaling, AStepThatOverflowsIsSkippedAndHalvesTheScale) {
  const Network network = mixed_network();
  const auto first = train_and_keep(network, {.batch = 40, .loss_scaling = true}, {0x1p127F, 5}, 2);
  const auto backend = make_cpu_backend(1);
  VariableStore start(network, *backend, 2, 7);
  EXPECT_EQ(first[0].scale, (LossScale{0x1p126F, 0}));
  EXPECT_EQ(first[0].slots, start.get_slots());
  // The loss is that of a step without a scale, and finite.
  EXPECT_EQ(first[0].loss, train_and_keep(network, {.batch = 40}, {}, 1)[0].loss);
  const Weights before = start.get();
  for (const Variable& variable : network.variables()) {
    // Batch norm has seen the images all the same.
    const bool same = first[0].weights.at(variable.name) == before.at(variable.name);
    EXPECT_EQ(same, variable.trainable) << variable.name;
  }
}

TEST(LossScaling, GrowsAfterTheInterval) {
  const auto kept = train_and_keep(mixed_network(), {.batch = 40, .loss_scaling = true}, {1024, 1998}, 3);
  EXPECT_EQ(kept[0].scale, (LossScale{1024, 1999}));
  EXPECT_EQ(kept[1].scale, (LossScale{2048, 0}));
  EXPECT_EQ(kept[2].scale, (LossScale{2048, 1}));
  // Each step is divided by the scale that its own gradients have.
  const auto plain = train_and_keep(mixed_network(), {.batch = 40}, {}, 3);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(kept[i].weights, plain[i].weights) << i;
}

TEST(LossScaling, IsPartOfTheOptimizersState) {
  const auto backend = make_cpu_backend(1);
  VariableStore store(mixed_network(), *backend, 1, 7);
  const std::string weights = store.sha256(), slots = store.slots_sha256();
  store.set_loss_scale({512, 3});
  EXPECT_EQ(store.loss_scale(), (LossScale{512, 3}));
  EXPECT_EQ(store.sha256(), weights);
  EXPECT_NE(store.slots_sha256(), slots);
}

TEST(Numerics, TrainingTwiceGivesTheSameBits) { EXPECT_EQ(train_one({}), train_one({})); }

}  // namespace
}  // namespace lockstep::test
