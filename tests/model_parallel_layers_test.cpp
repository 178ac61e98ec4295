// Every strategy trains a network of activations, gates, norms over samples and dropped channels as one rank does.
#include "layers/cpu/kernels.h"
#include "tests/model_parallel.h"

namespace lockstep::test {
namespace {

Network gated() {
  const Symbol image = Input({13, 11, 3});
  Symbol x = Conv2D(8, {3, 3}, {.padding = Padding::same, .activation = Activation::silu})(image);
  x = GroupNormalization(4)(x);
  Symbol gate = Dense(4, {.activation = Activation::silu})(GlobalAveragePooling2D()(x));
  gate = Dense(8, {.activation = Activation::sigmoid})(gate);
  x = Multiply()({x, Reshape({1, 1, 8})(gate)});
  x = SpatialDropout2D(0.2F)(PReLU({1, 2})(x));
  x = LayerNormalization()(Conv2D(12, {3, 3}, {.padding = Padding::same, .activation = Activation::leaky_relu})(x));
  x = Average()({HardSwish()(x), ELU()(x)});
  x = Subtract()({x, Tanh()(x)});
  x = BatchNormalization()(Conv2D(8, {3, 3}, {.padding = Padding::same, .use_bias = false})(x));
  x = Permute({2, 1, 3})(ReLU({.max_value = 0.5F})(x));
  x = Dense(16, {.activation = Activation::gelu})(GlobalAveragePooling2D()(x));
  return Network("gated", Dense(10, {.activation = Activation::softmax})(x));
}

struct Case {
  std::string strategy;
  int ranks;
};

class EveryLayer : public ::testing::TestWithParam<Case> {};

TEST_P(EveryLayer, TrainsAsOneRankDoes) {
  const Network network = gated();
  StepOptions step{.batch = 8, .lanes = 2};
  const Trained one = train_by(network, step, 4, 1)[0];
  step.strategy = parse_strategy(GetParam().strategy);
  const auto all = train_by(network, step, 4, GetParam().ranks);
  for (const Trained& rank : all) EXPECT_EQ(rank.sha256, all[0].sha256);
  if (GetParam().strategy == "data=2") {
    EXPECT_EQ(all[0].sha256, one.sha256);
  }
  std::string worst;
  EXPECT_LE(difference(all[0].gradients, one.gradients, &worst), 2e-5) << worst;
  for (size_t i = 0; i < one.losses.size(); ++i)
    EXPECT_NEAR(all[0].losses[i], one.losses[i], 2e-5 * one.losses[i]) << i;
  EXPECT_FALSE(difference(all[0].gradients, one.weights, &worst) <= 2e-5) << "anything would pass";
}

INSTANTIATE_TEST_SUITE_P(, EveryLayer,
                         ::testing::Values(Case{"data=2", 2}, Case{"space_h=2", 2}, Case{"space_w=2", 2},
                                           Case{"filter=2", 2}, Case{"channel=2", 2}, Case{"space_h=2,filter=2", 4},
                                           Case{"data=2,space_w=2", 4}));

}  // namespace
}  // namespace lockstep::test
