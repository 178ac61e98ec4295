// Model parallelism: every strategy trains as one rank does.
#include "tests/model_parallel.h"

#include "layers/ops.h"
#include "layers/zoo/zoo.h"
#include "tests/errors.h"
#include "tests/random_network.h"

namespace lockstep::test {
namespace {

/// A stem, a residual, both pools, a branch with concatenation, dense layers.
Network branched() {
  const Symbol image = Input({13, 11, 3});
  Symbol x = Conv2D(8, {3, 3}, {.padding = Padding::same, .use_bias = false})(image);
  x = ReLU()(BatchNormalization()(x));
  const Symbol y = BatchNormalization()(Conv2D(8, {3, 3}, {.padding = Padding::same, .use_bias = false})(x));
  x = ReLU()(Add()({y, x}));
  x = MaxPooling2D({3, 3}, {.strides = {2, 2}, .padding = Padding::same})(x);
  const Symbol a = Conv2D(8, {1, 1}, {.activation = Activation::relu})(x);
  const Symbol b = Conv2D(8, {3, 3}, {.padding = Padding::same, .activation = Activation::relu, .groups = 2})(x);
  x = Concatenate()({a, b, AveragePooling2D({3, 3}, {.strides = {1, 1}, .padding = Padding::same})(x)});
  x = Conv2D(12, {3, 3}, {.padding = Padding::same, .activation = Activation::relu, .dilation_rate = {2, 2}})(x);
  x = GlobalAveragePooling2D()(x);
  x = Dense(16, {.activation = Activation::relu})(x);
  return Network("branched", Dense(10, {.activation = Activation::softmax})(x));
}

struct Case {
  std::string strategy;
  int ranks;
};

class EveryStrategy : public ::testing::TestWithParam<Case> {};

TEST_P(EveryStrategy, TrainsAsOneRankDoes) {
  const Network network = branched();
  StepOptions step{.batch = 8, .lanes = 2};
  const Trained one = train_by(network, step, 5, 1)[0];
  step.strategy = parse_strategy(GetParam().strategy);
  const auto all = train_by(network, step, 5, GetParam().ranks);
  for (const Trained& rank : all) {
    EXPECT_EQ(rank.sha256, all[0].sha256);
    EXPECT_EQ(rank.losses, all[0].losses);
  }
  std::string worst;
  const double off = difference(all[0].gradients, one.gradients, &worst);
  EXPECT_LE(off, 1e-5) << worst;
  for (size_t i = 0; i < one.losses.size(); ++i)
    EXPECT_NEAR(all[0].losses[i], one.losses[i], 2e-5 * one.losses[i]) << i;
  EXPECT_LE(difference(all[0].weights, one.weights, &worst), 1e-3) << worst;
  RecordProperty("gradients", std::to_string(off));
  fmt::print("{}: gradients {:.1e} {}, weights {:.1e}\n", GetParam().strategy, off, worst,
             difference(all[0].weights, one.weights));
}

INSTANTIATE_TEST_SUITE_P(, EveryStrategy,
                         ::testing::Values(Case{"data=2", 2}, Case{"space_h=2", 2}, Case{"space_w=2", 2},
                                           Case{"space_h=3", 3}, Case{"space_h=4", 4}, Case{"space_h=2,space_w=2", 4},
                                           Case{"data=2,space_h=2", 4}, Case{"filter=2", 2}, Case{"filter=3", 3},
                                           Case{"filter=4", 4}, Case{"channel=2", 2}, Case{"channel=3", 3},
                                           Case{"space_h=2,filter=2", 4}, Case{"filter=2,channel=2", 4},
                                           Case{"data=2,filter=2", 4}, Case{"space_w=2,channel=2", 4},
                                           Case{"space_h=2,space_w=3", 6}, Case{"data=2,space_h=2,filter=2", 8}),
                         [](const ::testing::TestParamInfo<Case>& tested) {
                           std::string name = tested.param.strategy;
                           for (char& c : name)
                             if (c == ',' || c == '=') c = '_';
                           return name;
                         });

/// Networks from a seed, each by all strategies.
class RandomNetworks : public ::testing::TestWithParam<int> {};

TEST_P(RandomNetworks, TrainAsOnOneRank) {
  const std::vector<Case> strategies{{"space_h=2", 2},
                                     {"space_w=3", 3},
                                     {"space_h=2,space_w=2", 4},
                                     {"filter=2", 2},
                                     {"channel=2", 2},
                                     {"space_h=3,filter=2", 6},
                                     {"filter=4", 4},
                                     {"space_h=2,channel=2", 4},
                                     {"space_w=4", 4},
                                     {"data=2,space_h=2,space_w=2", 8},
                                     {"channel=4", 4},
                                     {"data=2,filter=2", 4}};
  // Each network by every third of them; all strategies see a third of the networks.
  for (size_t i = 0; i < 20; ++i) {
    const auto seed = static_cast<uint64_t>(GetParam()) * 20 + i;
    const Network network = random_network(seed, 4);
    StepOptions step{.batch = 4, .lanes = 2};
    const Trained one = train_by(network, step, 2, 1)[0];
    for (size_t s = seed % 3; s < strategies.size(); s += 3) {
      const Case& by = strategies[s];
      SCOPED_TRACE(fmt::format("seed {} by {}", seed, by.strategy));
      step.strategy = parse_strategy(by.strategy);
      const Trained many = train_by(network, step, 2, by.ranks)[0];
      std::string worst;
      const double off = difference(many.gradients, one.gradients, &worst);
      EXPECT_LE(off, 1e-5) << worst << "\n" << network.summary();
      EXPECT_NEAR(many.losses[1], one.losses[1], 1e-4 * one.losses[1]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, RandomNetworks, ::testing::Range(0, 10));

}  // namespace
}  // namespace lockstep::test
