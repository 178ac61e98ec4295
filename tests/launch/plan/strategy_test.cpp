// Strategies: how they are named, what is refused, and what the search says of them.
#include "launch/plan/strategy_file.h"

#include <fstream>
#include <set>

#include "launch/estimate/search.h"
#include "layers/zoo/zoo.h"
#include "tests/launch/plan/watched_step.h"
#include "tests/support/errors.h"
#include "tests/support/paths.h"
#include "tests/support/temporary_folder.h"

namespace lockstep::test {
namespace {

std::string written(const std::string& json) {
  static const lockstep::testing::TemporaryFolder folder;
  const std::string path = (folder.path() / "strategy.json").string();
  std::ofstream(path) << json;
  return path;
}

std::string refusal(const Network& network, const std::string& strategy, int ranks) {
  return error_of<InputError>(
      [&] { train_by(network, {.batch = 4, .lanes = 1, .strategy = read_strategy(strategy)}, 1, ranks); });
}

TEST(Strategies, AreReadFromText) {
  const Strategy both = parse_strategy("data=2,space_h=3,filter=2");
  EXPECT_EQ(both.data_ranks, 2);
  ASSERT_EQ(both.mesh.size(), 3U);
  EXPECT_EQ(both.mesh[1].name, "space_h");
  EXPECT_EQ(both.mesh[1].size, 3);
  EXPECT_EQ(both.ranks_per_lane(), 6);
  EXPECT_EQ(parse_strategy("data").mesh.size(), 1U);
  EXPECT_FALSE(parse_strategy("space_w=2").data_ranks);
  EXPECT_EQ(parse_strategy("space_w=1").mesh.size(), 1U);  // nothing to share
}

TEST(Strategies, BadTextIsRefused) {
  const auto refused = [](const std::string& text) { return error_of<InputError>([&] { read_strategy(text); }); };
  EXPECT_TRUE(says(refused("date"), {"'date'", "did you mean 'data'"}));
  EXPECT_TRUE(says(refused("space=2"), {"unknown mesh axis 'space'", "space_h"}));
  EXPECT_TRUE(says(refused("space_h=two"), {"'space_h=two'", "data=2,space_h=2"}));
  EXPECT_TRUE(says(refused("space_h=0"), {"size 0"}));
  EXPECT_TRUE(says(refused("space_h=2,space_h=2"), {"'space_h' is given twice"}));
  EXPECT_TRUE(says(refused("data=2,data=2"), {"'data' is given twice"}));
  EXPECT_TRUE(says(refused(""), {"''"}));
  EXPECT_TRUE(says(refused("/nowhere/s.json"), {"/nowhere/s.json"}));
}

TEST(Strategies, AreReadFromJson) {
  const Strategy strategy = read_strategy(written(R"({
    "mesh": {"space_h": 2, "filter": 2},
    "pins": [{"layers": "dense*", "place": {"space_h": "whole", "filter": "channels"}}]})"));
  EXPECT_EQ(strategy.ranks_per_lane(), 4);
  EXPECT_EQ(strategy.cut("dense_1/weight_grad", 1), std::nullopt);
  EXPECT_EQ(strategy.cut("dense", 2), Cut::channels);
  EXPECT_EQ(strategy.cut("conv2d", 1), Cut::height);
  const Strategy staged = read_strategy(written(R"({
    "mesh": {"stage": "auto"}, "pins": [{"layers": "dense*", "place": {"stage": 1}}]})"));
  ASSERT_EQ(staged.pins.size(), 1U);
  EXPECT_EQ(staged.pins[0].stage, 1);
  EXPECT_TRUE(staged.pins[0].place.empty());
}

TEST(Strategies, BadJsonIsRefusedWithItsLine) {
  const auto refused = [](const std::string& json) {
    return error_of<InputError>([&] { read_strategy(written(json)); });
  };
  EXPECT_TRUE(says(refused("{}"), {"strategy.json:1", "'mesh' is missing"}));
  EXPECT_TRUE(says(refused("{\"mesh\":\n{\"space\": 2}}"), {"strategy.json:2", "mesh.space", "space_h"}));
  EXPECT_TRUE(says(refused(R"({"mesh": {"space_h": "2"}})"), {"mesh.space_h", "\"2\""}));
  EXPECT_TRUE(says(refused(R"({"mesh": {"space_h": 2}, "pin": []})"), {"'pin'", "pins"}));
  const std::string pins = R"({"mesh": {"space_h": 2}, "pins": )";
  EXPECT_TRUE(says(refused(pins + "{}}"), {"pins", "a list"}));
  EXPECT_TRUE(says(refused(pins + "[{\"layers\": \"a\"}]}"), {"pins[0]", "'place' is missing"}));
  EXPECT_TRUE(says(refused(pins + "[{\"layers\": \"a\", \"place\": {\"filter\": \"whole\"}}]}"),
                   {"pins[0].place.filter", "space_h"}));
  EXPECT_TRUE(says(refused(pins + "[{\"layers\": \"a\", \"place\": {\"space_h\": \"rows\"}}]}"),
                   {"pins[0].place.space_h", "height"}));
  EXPECT_TRUE(says(refused(R"({"mesh": {"stage": 2}, "pins": [{"layers": "a", "place": {"stage": "last"}}]})"),
                   {"pins[0].place.stage", "a stage's number", "\"last\""}));
}

TEST(Strategies, WhatCannotBeIsRefusedBeforeAnythingRuns) {
  const Network network = small();
  EXPECT_TRUE(says(refusal(network, "data=2,space_h=2", 2), {"data=2, space_h=2", "4 places", "2 ranks"}));
  EXPECT_TRUE(says(refusal(network, "space_h=3", 4), {"space_h=3", "4 ranks"}));
  Strategy shared = parse_strategy("data=3");
  shared.shard_optimizer = true;
  EXPECT_TRUE(says(error_of<InputError>([&] { check_ranks(shared, 3); }), {"3 ranks", "power of two"}));
  // The second convolution has 6 rows.
  EXPECT_TRUE(says(refusal(network, "space_h=8", 8), {"'space_h' has 8 members", "'conv2d_1'", "6 elements"}));
  const std::string mesh = R"({"mesh": {"space_h": 2, "space_w": 2}, "pins": [{"layers": ")";
  EXPECT_TRUE(says(refusal(network, written(mesh + R"(conv2d", "place": {"space_w": "height"}}]})"), 4),
                   {"'conv2d", "dimension 1", "two mesh axes, 'space_h' and 'space_w'"}));
  EXPECT_TRUE(says(refusal(network, written(R"({"mesh": {"space_h": 2, "channel": 2},
                             "pins": [{"layers": "conv2d_1", "place": {"space_h": "channels"}}]})"),
                           4),
                   {"dimension 3", "two mesh axes, 'space_h' and 'channel'"}));
  EXPECT_TRUE(says(error_of<InputError>([] { parse_strategy("space_h=65536,filter=65536"); }), {"65536 ranks"}));
  EXPECT_TRUE(says(refusal(network, written(mesh + R"(dense", "place": {"space_w": "height"}}]})"), 4),
                   {"pin 'dense'", "height", "channels, filters"}));
  const Strategy nothing = read_strategy(written(mesh + R"(conf2d", "place": {"space_w": "whole"}}]})"));
  const std::vector<std::string> layers{"conv2d", "dense"};
  EXPECT_TRUE(says(error_of<InputError>([&] { check_pins(nothing, layers); }),
                   {"'conf2d' matches no layer", "did you mean 'conv2d'"}));
}

TEST(Strategies, PinsMixThem) {
  const Network network = small();
  StepOptions step{.batch = 4, .lanes = 2};
  const Trained one = train_by(network, step, 3, 1)[0];
  step.strategy = read_strategy(written(R"({"mesh": {"space_h": 2, "filter": 2}, "pins": [
    {"layers": "conv2d", "place": {"filter": "whole"}},
    {"layers": "conv2d_1", "place": {"space_h": "whole"}},
    {"layers": "dense", "place": {"space_h": "filters", "filter": "channels"}}]})"));
  for (const Trained& rank : train_by(network, step, 3, 4)) EXPECT_LE(difference(rank.gradients, one.gradients), 1e-5);
}

TEST(Strategies, TheExampleTrains) {
  const Network network = resnet18({16, 16, 3}, 10);
  StepOptions step{.batch = 4, .lanes = 2};
  const Trained one = train_by(network, step, 1, 1)[0];
  step.strategy = read_strategy(source_dir() + "/examples/stages.json");
  const auto all = train_by(network, step, 1, 4);
  EXPECT_NEAR(all[0].losses[0], one.losses[0], 2e-6 * one.losses[0]);
  for (const Trained& rank : all) EXPECT_EQ(rank.sha256, all[0].sha256);
}

TEST(Search, EstimatesEveryMeshOfTheRanks) {
  Runtime runtime;
  const StepOptions step{.batch = 4, .lanes = 2};
  const Link link{.latency = 1e-6, .bandwidth = 1e9};
  const auto found = search_strategies(runtime, small(), step, SGD{}, 4, 1, link);
  std::set<std::string> strategies;
  for (size_t i = 0; i < found.size(); ++i) {
    const auto& [strategy, refusal, estimated] = found[i];
    strategies.insert(strategy);
    if (!refusal.empty()) {
      EXPECT_EQ(strategy, "data=4");  // two lanes
      EXPECT_EQ(i + 1, found.size());
      EXPECT_TRUE(says(refusal, {"2 lanes", "4 ranks"}));
      continue;
    }
    EXPECT_GT(estimated.compute, 0);
    EXPECT_GT(estimated.memory, 0U);
    if (i > 0) {
      EXPECT_GE(estimated.seconds(), found[i - 1].step.seconds());
    }
    size_t most = 0;
    double longest = 0;
    StepOptions by = step;
    by.strategy = parse_strategy(strategy);
    for (const auto& rank : watch_step(small(), by, 4)) {
      size_t sent = 0, times = 0;
      for (const Collective& one : rank) {
        sent += one.bytes;
        times += one.times;
      }
      most = std::max(most, sent);
      longest = std::max(longest, link.seconds(times, sent));
    }
    EXPECT_EQ(estimated.sent, most) << strategy;
    if (by.strategy.stages() == 1) {
      EXPECT_EQ(estimated.waiting, 0) << strategy;
      EXPECT_NEAR(estimated.communication, longest, 1e-9 * longest) << strategy;
    } else {
      // The slowest stage has work in every lane, and all others' first and last turns come before and after it.
      EXPECT_GT(estimated.waiting, 0) << strategy;
      EXPECT_GT(estimated.communication, 0) << strategy;
    }
  }
  EXPECT_EQ(strategies.size(), 21U);  // one axis of 4: 6; two of 2: 15
  const std::string table = describe(found, link);
  EXPECT_TRUE(says(table, {"space_h=2,filter=2", "data=2,stage=2", "refused: ", "1.0 us, 1.00 GB/s (given)"}));
}

TEST(Search, APipelineOfMoreStagesThanLayersIsRefused) {
  Runtime runtime;
  const StepOptions step{.batch = 8, .lanes = 8, .strategy = parse_strategy("stage=8")};
  const Link link{.latency = 1e-6, .bandwidth = 1e9};
  EXPECT_TRUE(says(error_of<InputError>([&] { estimate_step(runtime, small(), step, SGD{}, 8, 1, link); }),
                   {"'stage' has 8 members", "4 layers"}));
}

TEST(Search, EstimatesTheStepOfEveryLossAndOptimizer) {
  Runtime runtime;
  const Link link{.latency = 1e-6, .bandwidth = 1e9};
  const Conv2DOptions sigmoid{.activation = Activation::sigmoid}, softmax{.activation = Activation::softmax};
  const auto pixels = [](const Conv2DOptions& options) {
    return Sequential("pixels", Input({8, 6, 1}), Conv2D(3, {1, 1}, options));
  };
  const auto estimated = [&](const Network& network, Loss loss, const Optimizer& optimizer = SGD{}) {
    const StepOptions step{.batch = 4, .lanes = 2, .loss = std::move(loss)};
    return estimate_step(runtime, network, step, optimizer, 2, 1, link);
  };
  EXPECT_GT(estimated(pixels(softmax), "sparse_categorical_crossentropy").compute, 0);
  EXPECT_GT(estimated(pixels(softmax), "categorical_crossentropy").compute, 0);
  EXPECT_GT(estimated(pixels(sigmoid), "binary_crossentropy").compute, 0);
  EXPECT_GT(estimated(pixels({}), "mse").compute, 0);
  EXPECT_TRUE(says(error_of<InputError>([&] { estimated(pixels(sigmoid), "categorical_crossentropy"); }),
                   {"expected a softmax"}));
  const size_t slots = 2 * sizeof(float) * static_cast<size_t>(small().parameters());  // of Adam
  const Loss loss = SparseCategoricalCrossentropy{};
  EXPECT_GE(estimated(small(), loss, Adam{}).memory, estimated(small(), loss, SGD{}).memory + slots);
}

TEST(Search, ALinkIsPricedAsTold) {
  const Link link = parse_link("5,12.5");
  EXPECT_DOUBLE_EQ(link.latency, 5e-6);
  EXPECT_DOUBLE_EQ(link.bandwidth, 12.5e9);
  EXPECT_FALSE(link.measured);
  EXPECT_DOUBLE_EQ(link.seconds(3, 25'000'000), 3 * 5e-6 + 2e-3);
  EXPECT_EQ(parse_link("0,1e1").latency, 0);
  for (const char* bad : {"", "5", "5,", ",5", "5,0", "-1,5", "5,-5", "5,6,7", "5;6", "nan,5", "5,inf", "5,6 ", "a,b"})
    EXPECT_TRUE(says(error_of<InputError>([&] { parse_link(bad); }),
                     {fmt::format("link '{}'", bad), "LATENCY_US,GB_PER_S", "5,12.5"}));
}

}  // namespace
}  // namespace lockstep::test
