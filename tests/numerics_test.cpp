// The promise: the same bits for every number of ranks, at every step, in all that is trained or kept. And the proof
// that these tests would notice: ring reductions, swapped lanes and one flipped bit are caught.
#include <gtest/gtest.h>

#include <bit>
#include <thread>

#include "launch/data/open.h"
#include "launch/trainer.h"
#include "layers/cpu/kernels.h"
#include "layers/ops.h"
#include "layers/zoo/zoo.h"
#include "parallel/comm/local.h"

namespace lockstep {
namespace {

/// The first `size` samples of another set: a short last batch after few steps.
class Head final : public Dataset {
 public:
  Head(std::shared_ptr<const Dataset> inner, int64_t size) : inner_(std::move(inner)), size_(size) {}
  int64_t size() const override { return size_; }
  Shape image_shape() const override { return inner_->image_shape(); }
  int classes() const override { return inner_->classes(); }
  int32_t read(int64_t index, std::span<float> image) const override { return inner_->read(index, image); }
  std::string content_sha256() const override { return inner_->content_sha256(); }

 private:
  std::shared_ptr<const Dataset> inner_;
  int64_t size_;
};

std::shared_ptr<const Dataset> digits(int64_t size) {
  return std::make_shared<Head>(prepare_data("digits").data.train, size);
}

/// Everything that could go wrong in one net: batch norm with a residual, dropout, pooling, a branch, dense layers.
Network mixed_network() {
  const Symbol image = Input({8, 8, 1});
  Symbol x = Conv2D(8, {3, 3}, {.padding = Padding::same, .use_bias = false})(image);
  x = ReLU()(BatchNormalization()(x));
  Symbol y = BatchNormalization()(Conv2D(8, {3, 3}, {.padding = Padding::same})(x));
  x = ReLU()(Add()({y, x}));
  x = Concatenate()({MaxPooling2D({2, 2})(x), AveragePooling2D({2, 2})(x)});
  x = Dropout(0.3F)(Flatten()(x));
  x = Dense(24, {.activation = Activation::relu})(x);
  return Network("mixed", Dense(10, {.activation = Activation::softmax})(x));
}

struct RunSpec {
  int ranks = 1;
  int threads = 1;
  int lanes = 8;
  int64_t batch = 40, samples = 100, steps = 7;
  Numerics numerics = Numerics::reproducible;
  Optimizer optimizer = Adam{};
  uint64_t seed = 7;
  std::pair<int, int> swapped_lanes{0, 0};
  bool flip_bit = false;
};

/// What a step leaves: its loss and a hash of variables, batch norm's statistics and the optimizer's variables.
struct StepTrace {
  uint32_t loss = 0, accuracy = 0;
  std::string hash;
  bool operator==(const StepTrace&) const = default;
};

void swap_lanes(Batch& batch, std::pair<int, int> lanes) {
  const auto [a, b] = lanes;
  if (a == b) return;
  const auto swap_parts = [&](auto& data) {
    const auto part = static_cast<ptrdiff_t>(data.size() / batch.lanes.size());
    std::swap_ranges(data.begin() + a * part, data.begin() + (a + 1) * part, data.begin() + b * part);
  };
  swap_parts(batch.images);
  swap_parts(batch.labels);
  swap_parts(batch.lanes);
}

void train_rank(const Network& network, const RunSpec& run, Communicator& comm, std::vector<StepTrace>& trace) {
  const auto backend = make_cpu_backend(run.threads);
  Trainer trainer(network, {{run.batch, run.lanes, run.numerics}, run.optimizer, run.seed}, comm, *backend,
                  cpu_kernels());
  if (run.flip_bit) {
    Weights weights = trainer.variables().get();
    float& weight = weights.at("dense/kernel").at(3);
    weight = std::bit_cast<float>(std::bit_cast<uint32_t>(weight) ^ 1U);
    trainer.variables().set(weights);
  }
  const int lanes = run.numerics == Numerics::fast ? comm.size() : run.lanes;
  const int own = lanes / comm.size();
  BatchFeed feed(digits(run.samples), {.batch = run.batch,
                                       .lanes = lanes,
                                       .first_lane = int64_t{own} * comm.rank(),
                                       .lane_count = own,
                                       .shuffle = true,
                                       .seed = run.seed,
                                       .steps = run.steps});
  for (int64_t i = 0; i < run.steps; ++i) {
    Batch batch = feed.next();
    swap_lanes(batch, run.swapped_lanes);
    const StepResult result = trainer.train(batch, run.optimizer.lr());
    trace.push_back({std::bit_cast<uint32_t>(result.loss), std::bit_cast<uint32_t>(result.accuracy),
                     trainer.variables().sha256() + trainer.variables().slots_sha256()});
  }
}

/// The trace of every rank.
std::vector<std::vector<StepTrace>> train(const Network& network, const RunSpec& run) {
  auto comms = make_local(run.ranks);
  std::vector<std::vector<StepTrace>> traces(static_cast<size_t>(run.ranks));
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < comms.size(); ++rank)
    threads.emplace_back([&, rank] { train_rank(network, run, *comms[rank], traces[rank]); });
  for (std::thread& thread : threads) thread.join();
  return traces;
}

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

TEST(Numerics, TrainingTwiceGivesTheSameBits) { EXPECT_EQ(train_one({}), train_one({})); }

}  // namespace
}  // namespace lockstep
