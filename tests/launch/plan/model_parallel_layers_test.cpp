// Every strategy trains a network of activations, gates, norms over samples and dropped channels as one rank does.
#include "layers/cpu/kernels.h"
#include "parallel/placement/propagate.h"
#include "parallel/placement/rules.h"
#include "tests/launch/plan/model_parallel.h"
#include "tests/launch/plan/random_network.h"

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
  x = Subtract()({x, ActivationLayer(Activation::tanh)(x)});
  x = Minimum()({Maximum()({x, Conv2D(12, {1, 1})(x), Dropout(0.2F)(x)}), Conv2D(12, {1, 1})(x)});
  x = BatchNormalization()(Conv2D(8, {3, 3}, {.padding = Padding::same, .use_bias = false})(x));
  x = Permute({2, 1, 3})(ReLU({.max_value = 0.5F})(x));
  x = Dense(16, {.activation = Activation::gelu})(GlobalAveragePooling2D()(x));
  return Network("gated", Dense(10, {.activation = Activation::softmax})(x));
}

/// Where images become one pixel: a squeeze-and-excitation of 1x1 convolutions, with a norm; and rows and columns that
/// end in one, of which others are made again.
Network squeezed() {
  Symbol x = Conv2D(8, {3, 3}, {.padding = Padding::same, .activation = Activation::silu})(Input({13, 11, 3}));
  Symbol gate = Reshape({1, 1, 8})(GlobalAveragePooling2D()(x));
  gate = GroupNormalization(2)(Conv2D(4, {1, 1}, {.activation = Activation::silu})(gate));
  gate = Conv2D(8, {1, 1}, {.activation = Activation::sigmoid})(gate);
  x = MaxPooling2D({2, 2})(Multiply()({x, gate}));
  x = Conv2D(8, {3, 3}, {.strides = {3, 3}, .activation = Activation::tanh})(x);
  x = AveragePooling2D({2, 1})(x);
  x = UpSampling2D({4, 4}, {.interpolation = Interpolation::bilinear})(DepthwiseConv2D({1, 1})(x));
  x = GlobalAveragePooling2D()(Conv2DTranspose(8, {3, 3}, {.strides = {2, 2}})(x));
  return Network("squeezed", Dense(10, {.activation = Activation::softmax})(x));
}

struct Case {
  std::string strategy;
  int ranks;
};

/// Gradients are within `limit` of one rank's, and losses within 2e-5; with `data` alone, the bits are the same.
void expect_trains_alike(const Network& network, const Case& by, double limit) {
  SCOPED_TRACE(fmt::format("{} by {}", network.name(), by.strategy));
  StepOptions step{.batch = 8, .lanes = 2};
  const Trained one = train_by(network, step, 4, 1)[0];
  step.strategy = parse_strategy(by.strategy);
  const auto all = train_by(network, step, 4, by.ranks);
  for (const Trained& rank : all) EXPECT_EQ(rank.sha256, all[0].sha256);
  if (by.strategy == "data=2") {
    EXPECT_EQ(all[0].sha256, one.sha256);
  }
  std::string worst;
  EXPECT_LE(difference(all[0].gradients, one.gradients, &worst), limit) << worst;
  for (size_t i = 0; i < one.losses.size(); ++i)
    EXPECT_NEAR(all[0].losses[i], one.losses[i], 2e-5 * one.losses[i]) << i;
  EXPECT_FALSE(difference(all[0].gradients, one.weights, &worst) <= limit) << "anything would pass";
}

class EveryLayer : public ::testing::TestWithParam<Case> {};

TEST_P(EveryLayer, TrainsAsOneRankDoes) { expect_trains_alike(gated(), GetParam(), 2e-5); }

TEST_P(EveryLayer, ImagesOfOnePixelStayWhole) { expect_trains_alike(squeezed(), GetParam(), 1e-5); }

INSTANTIATE_TEST_SUITE_P(, EveryLayer,
                         ::testing::Values(Case{"data=2", 2}, Case{"space_h=2", 2}, Case{"space_w=2", 2},
                                           Case{"space_h=2,space_w=2", 4}, Case{"filter=2", 2}, Case{"channel=2", 2},
                                           Case{"space_h=2,filter=2", 4}, Case{"data=2,space_w=2", 4}));

/// The gradients of a network's first step are one rank's.
void expect_gradients_alike(const Network& network, const Case& by, bool overlaps = false, double limit = 1e-5) {
  SCOPED_TRACE(by.strategy);
  StepOptions step{.batch = 4, .lanes = 2};
  const Trained one = train_by(network, step, 1, 1)[0];
  step.strategy = parse_strategy(by.strategy);
  if (overlaps) step.strategy.overlap_from = 0;
  const auto all = train_by(network, step, 1, by.ranks);
  for (const Trained& rank : all) EXPECT_EQ(rank.sha256, all[0].sha256);
  std::string worst;
  EXPECT_LE(difference(all[0].gradients, one.gradients, &worst), limit) << worst;
  EXPECT_NEAR(all[0].losses[0], one.losses[0], 1e-5 * one.losses[0]);
}

Network grouped(int64_t channels, int64_t groups) {
  Symbol x = Conv2D(channels, {3, 3}, {.use_bias = false})(Input({9, 10, 3}));
  x = ActivationLayer(Activation::silu)(GroupNormalization(groups)(x));
  x = Conv2D(6, {3, 3}, {.padding = Padding::same, .activation = Activation::tanh})(x);
  return Network("grouped", Dense(10, {.activation = Activation::softmax})(GlobalAveragePooling2D()(x)));
}

TEST(Groups, ThatMembersCannotShareAreNormalisedWholeWithAWarning) {
  for (const auto& [channels, groups] : {std::pair<int64_t, int64_t>{9, 3}, {14, 7}, {9, 1}, {9, 9}, {8, 4}, {12, 6}}) {
    const Network network = grouped(channels, groups);
    const Graph graph = network.build(4, 2, true).graph;
    for (const Case& by :
         {Case{"space_h=2", 2}, Case{"space_w=3", 3}, Case{"filter=2", 2}, Case{"channel=2", 2},
          Case{"space_h=2,filter=3", 6}, Case{"space_h=2,space_w=2", 4}, Case{"filter=2,space_w=2", 4}}) {
      SCOPED_TRACE(fmt::format("{} channels, {} groups", channels, groups));
      expect_gradients_alike(network, by);
      // An axis that cannot share the groups says so, and no other; of two, one may have the channels.
      const Strategy strategy = parse_strategy(by.strategy);
      if (strategy.mesh.size() > 2) continue;
      std::vector<Value> ends;
      const std::vector<int64_t> first(strategy.mesh.size() - 1);
      std::vector<std::string> said, expected;
      for (const std::string& note : propagate(graph, strategy, {.coordinates = first}, ends).notes)
        if (note.find("group_normalization") != std::string::npos) said.push_back(note);
      for (const Axis& axis : strategy.mesh)
        if (axis.size > 1 && groups % axis.size != 0)
          expected.push_back(
              fmt::format("'group_normalization' has {} group{} to share among the {} members of mesh axis '{}': each "
                          "computes all of it",
                          groups, groups == 1 ? "" : "s", axis.size, axis.name));
      EXPECT_EQ(said, expected) << by.strategy;
    }
  }
}

/// Between two convolutions.
Network around(const std::function<Symbol(const Symbol&)>& layer) {
  Symbol x = Conv2D(4, {3, 3}, {.padding = Padding::same, .activation = Activation::silu})(Input({8, 8, 2}));
  x = Conv2D(3, {3, 3}, {.padding = Padding::same, .activation = Activation::tanh})(layer(x));
  return Network("around", Dense(10, {.activation = Activation::softmax})(GlobalAveragePooling2D()(x)));
}

TEST(Padding, MayBeAllThatAMemberHas) {
  expect_gradients_alike(around(ZeroPadding2D({{0, 0}, {9, 0}})), {"space_w=2", 2});
  const std::vector<Case> strategies{{"space_h=2", 2}, {"space_w=2", 2},           {"space_h=3", 3},
                                     {"space_w=4", 4}, {"space_h=2,space_w=2", 4}, {"space_h=4,filter=2", 8}};
  Dice dice(6);
  for (size_t i = 0; i < 4 * strategies.size(); ++i) {
    const auto side = [&] { return dice.one_of<int64_t>({0, 0, 1, 9, 20}); };
    const Size2 rows{side(), side()}, columns{side(), side()};
    SCOPED_TRACE(fmt::format("rows {}, {}, columns {}, {}", rows[0], rows[1], columns[0], columns[1]));
    // A bias' gradient adds up to a thousand equal terms, whose rounding does not cancel.
    expect_gradients_alike(around(ZeroPadding2D({rows, columns})), strategies[i % strategies.size()], dice.coin(),
                           1e-4);
  }
}

TEST(Padding, OfWindowsAndWhatIsCroppedMayBeAllThatAMemberSees) {
  const Size2 tall{7, 3}, wide{3, 7}, none{0, 0};
  const std::vector<std::function<Symbol(const Symbol&)>> layers{
      Conv2D(4, tall, {.padding = {{6, 6}, {2, 0}}}),
      Conv2D(4, {2, 2}, {.padding = {{4, 5}, {5, 4}}, .dilation_rate = {6, 6}}),
      AveragePooling2D(wide, {.strides = {1, 2}, .padding = {{0, 2}, {6, 6}}}),
      MaxPooling2D(tall, {.strides = {3, 1}, .padding = {{6, 6}, {1, 1}}}),
      DepthwiseConv2D(tall, {.padding = {{6, 0}, {0, 2}}}),
      Conv2DTranspose(4, tall, {.padding = {{3, 3}, {2, 2}}}),
      Conv2DTranspose(4, {1, 1}, {.strides = {3, 4}, .output_padding = {2, 3}}),
      Conv2DTranspose(4, wide, {.strides = {2, 1}, .padding = {{1, 1}, {6, 6}}}),
      [&](const Symbol& x) {
        return UpSampling2D({5, 4})(MaxPooling2D({4, 4})(x));
      },
      [&](const Symbol& x) {
        return UpSampling2D({4, 5}, {.interpolation = Interpolation::bilinear})(AveragePooling2D({4, 2})(x));
      },
      [&](const Symbol& x) {
        return ZeroPadding2D({{9, 0}, none})(MaxPooling2D({8, 4})(x));
      },
      [&](const Symbol& x) {
        return ZeroPadding2D({none, {3, 11}})(Conv2D(4, {8, 8})(x));
      },
      [&](const Symbol& x) {
        return Conv2D(4, {5, 5}, {.padding = 4})(MaxPooling2D({4, 4})(x));
      }};
  for (size_t k = 0; k < layers.size(); ++k)
    for (const Case& by : {Case{"space_h=2", 2}, Case{"space_w=2", 2}, Case{"space_h=2,space_w=2", 4}}) {
      SCOPED_TRACE(k);
      expect_gradients_alike(around(layers[k]), by, k % 2 == 0);
    }
}

TEST(Axes, ThatMeetInOneDimensionLeaveItToTheOneThatIsToCutIt) {
  // Behind a permutation, what one axis has cut is a dimension that another is to cut: of a norm, a pool, a
  // convolution.
  for (const auto& dims : {std::vector<int64_t>{1, 3, 2}, {3, 2, 1}, {2, 3, 1}})
    for (const int which : {0, 1, 2}) {
      Symbol x = Conv2D(6, {3, 3}, {.padding = Padding::same, .activation = Activation::silu})(Input({8, 7, 2}));
      x = Permute(dims)(x);
      x = which == 0   ? Symbol(LayerNormalization()(x))
          : which == 1 ? Symbol(AveragePooling2D({2, 2})(x))
                       : Symbol(GroupNormalization(1)(UpSampling2D({2, 1})(x)));
      x = Conv2D(4, {3, 3}, {.padding = Padding::same, .activation = Activation::tanh})(x);
      const Network network("permuted", Dense(10, {.activation = Activation::softmax})(GlobalAveragePooling2D()(x)));
      SCOPED_TRACE(fmt::format("permuted by {}, layer {}", fmt::join(dims, " "), which));
      for (const Case& by : {Case{"channel=2,space_w=2", 4}, Case{"space_h=2,channel=2", 4},
                             Case{"filter=3,space_w=2", 6}, Case{"space_w=2,space_h=3", 6}})
        expect_gradients_alike(network, by, false, 5e-5);
    }
}

/// A 1x1 convolution of such images.
Graph convolution(const Shape& image) {
  Graph graph;
  const Value x = graph.source("x", {image}, Role::lane_input),
              w = graph.source("w", {Shape{4, 1, 1, image[3]}}, Role::parameter);
  graph.add1("conv", std::make_shared<Conv2dOp>(Conv2dAttributes{}, false, false), {x, w});
  return graph;
}

TEST(Planes, OfOneRowAreNotCutInRows) {
  const auto cuts = [](const Shape& image, Cut cut) {
    const Graph graph = convolution(image);
    return std::ranges::any_of(rules_of(graph, graph.nodes()[0]), [&](const Rule& rule) { return rule.cut == cut; });
  };
  EXPECT_FALSE(cuts({4, 1, 5, 8}, Cut::height));
  EXPECT_TRUE(cuts({4, 1, 5, 8}, Cut::width));
  EXPECT_TRUE(cuts({4, 2, 1, 8}, Cut::height));
  EXPECT_FALSE(cuts({4, 2, 1, 8}, Cut::width));
}

TEST(Planes, AnAxisThatSharesNoneIsNoted) {
  const auto notes = [](const Shape& image) {
    std::vector<Value> ends;
    return propagate(convolution(image), parse_strategy("space_h=2"), {.coordinates = {0}}, ends).notes;
  };
  EXPECT_EQ(notes({4, 1, 6, 3}),
            std::vector<std::string>{
                "mesh axis 'space_h' finds no images to share among its 2 members: each computes all of it"});
  EXPECT_EQ(notes({4, 2, 6, 3}), std::vector<std::string>{});
}

}  // namespace
}  // namespace lockstep::test
