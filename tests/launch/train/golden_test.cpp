// Ten training steps against PyTorch's numbers, made by tests/golden/make_golden.py: forward, loss, every gradient,
// batch norm's statistics and the optimizers at once; and the same numbers however the batch is cut.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "launch/host/runtime.h"
#include "launch/train/trainer.h"
#include "layers/cpu/kernels.h"
#include "tests/launch/train/golden.h"
#include "tests/support/source_files.h"

namespace lockstep::test {
namespace {

Network golden_network() {
  return Sequential("golden", Input({8, 8, 1}),
                    Conv2D(4, {3, 3}, {.padding = Padding::same, .activation = Activation::relu}), MaxPooling2D({2, 2}),
                    Conv2D(8, {3, 3}, {.use_bias = false}), BatchNormalization(), ReLU(), Flatten(),
                    Dense(16, {.activation = Activation::relu}), Dense(10, {.activation = Activation::softmax}));
}

/// The largest difference to the golden numbers, relative to 1 + |golden|; NaN counts as infinite.
double worst_difference(const std::string& key, const Network& network, const Optimizer& optimizer,
                        const Cut& cut = {}) {
  const auto golden = golden_json("golden.json")[key];
  double worst = 0;
  const auto compare = [&](double got, double want) {
    const double difference = std::abs(got - want) / (1 + std::abs(want));
    worst = difference <= worst ? worst : std::isnan(difference) ? INFINITY : difference;
  };
  Runtime runtime;
  runtime.run(cut.ranks, [&](RankContext& rank) {
    const auto backend = make_cpu_backend(1);
    Trainer trainer(network, {{batch_size, cut.lanes, cut.numerics}, optimizer, 0}, rank.comm, *backend, cpu_kernels());
    trainer.variables().set(initial_weights(network));
    std::vector<float> losses;
    for (size_t step = 0; step < golden["losses"].size(); ++step)
      losses.push_back(
          trainer.train(golden_batch(static_cast<int64_t>(step), cut, rank.comm.rank()), optimizer.lr()).loss);
    if (rank.comm.rank() != 0) return;
    for (size_t step = 0; step < losses.size(); ++step) compare(losses[step], golden["losses"][step].get<double>());
    for (const auto& [name, values] : trainer.variables().get())
      for (size_t i = 0; i < values.size(); ++i) compare(values[i], golden["variables"][name].at(i).get<double>());
  });
  return worst;
}

// The golden numbers are made in double precision; ten steps amplify the 1e-7 of single precision to a few 1e-6.
constexpr double tolerance = 5e-5;

const SGD momentum{.lr = 0.05F, .momentum = 0.9F, .weight_decay = 0.001F};

TEST(Golden, AdamAgreesWithPyTorch) {
  EXPECT_LE(worst_difference("adam", golden_network(), Adam{.lr = 0.01F}), tolerance);
}

TEST(Golden, MomentumAgreesWithPyTorch) {
  EXPECT_LE(worst_difference("momentum", golden_network(), momentum), tolerance);
}

TEST(Golden, BranchesAgreeWithPyTorchHoweverTheBatchIsCut) {
  for (const Cut& cut :
       {Cut{1, 1}, Cut{8, 1}, Cut{8, 2}, Cut{4, 4}, Cut{2, 2, Numerics::fast}, Cut{4, 4, Numerics::fast}})
    EXPECT_LE(worst_difference("branches", branches_network(), momentum, cut), tolerance)
        << cut.lanes << " lanes, " << cut.ranks << " ranks";
}

TEST(Golden, NegativeControlASlightlyOtherOptimizerIsSeen) {
  EXPECT_GT(worst_difference("adam", golden_network(), Adam{.lr = 0.0101F}), tolerance);
  EXPECT_GT(worst_difference("momentum", golden_network(), SGD{.lr = 0.05F, .momentum = 0.9F}), tolerance);
  EXPECT_GT(worst_difference("branches", branches_network(), SGD{.lr = 0.05F, .momentum = 0.9F}, {8, 2}), tolerance);
}

}  // namespace
}  // namespace lockstep::test
