// Strategies: how they are named, what is refused, what a step moves by them, and that a halo that is lost is seen.
#include "launch/strategy_file.h"

#include <fstream>
#include <set>

#include "launch/search.h"
#include "layers/cpu/kernels.h"
#include "layers/ops.h"
#include "layers/zoo/zoo.h"
#include "tests/errors.h"
#include "tests/model_parallel.h"
#include "tests/temporary_folder.h"
#include "tests/watched_comm.h"
#include "tests/watched_step.h"

namespace lockstep::test {
namespace {

/// Two convolutions, a pool, a dense layer: everything that moves can be told by hand.
Network small() {
  Symbol x = Input({12, 10, 3});
  x = Conv2D(8, {3, 3}, {.padding = Padding::same, .activation = Activation::relu})(x);
  x = Conv2D(8, {3, 3}, {.strides = {2, 2}, .padding = Padding::same, .activation = Activation::relu})(x);
  x = GlobalAveragePooling2D()(x);
  return Network("small", Dense(10, {.activation = Activation::softmax})(x));
}

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
  step.strategy = read_strategy(LOCKSTEP_SOURCE_DIR "/examples/stages.json");
  const auto all = train_by(network, step, 1, 4);
  EXPECT_NEAR(all[0].losses[0], one.losses[0], 2e-6 * one.losses[0]);
  for (const Trained& rank : all) EXPECT_EQ(rank.sha256, all[0].sha256);
}

/// The collectives of rank 0; each rank has sent what was planned.
std::vector<Collective> watch(const Network& network, const std::string& strategy, int ranks, bool shard = false) {
  StepOptions step{.batch = 4, .lanes = 2, .strategy = parse_strategy(strategy)};
  step.strategy.shard_optimizer = shard;
  step.loss_scaling = shard;
  return watch_step(network, step, ranks).at(0);
}

TEST(Traffic, IsWhatWasPlanned) {
  for (const auto& [strategy, ranks] : {std::pair{"space_h=2", 2},
                                        {"space_w=3", 3},
                                        {"filter=2", 2},
                                        {"channel=4", 4},
                                        {"space_h=2,space_w=2", 4},
                                        {"data=2,space_h=2,filter=2", 8}})
    watch(small(), strategy, ranks);
  watch(resnet18({16, 16, 3}, 10), "space_h=2,filter=2", 4);
  watch(small(), "data=2", 2, true);
  watch(small(), "data=2,space_h=2", 4, true);
}

TEST(Traffic, IsTheCollectivesOfTheStrategyAndNoOther) {
  // Two lanes of 2 images; a row of an image is 10 * 3 floats, one of the first feature map 10 * 8. The second
  // convolution's stride leaves the row above its lower half's first window unused: rank 0 gives none, and gets one.
  EXPECT_EQ(told(watch(small(), "space_h=2", 2)),
            (std::vector<std::string>{
                fmt::format("input/space_h S(1)->W(1) over 1: halo exchange {}", 4 * 30 * 4),
                "conv2d/space_h S(1)->W(1) over 1: halo exchange 0",
                fmt::format("global_average_pooling2d/space_h P->R over 1: all-reduce {}", 4 * 8 * 4),
                "bucket2/all_reduce over 0: sum over the batch 0",  // loss and accuracy, whole on every rank
                "bucket0/all_reduce over 0: sum over the batch 0",  // the dense layer's gradients
                fmt::format("conv2d_1/data_grad/space_h O(1)->S(1) over 1: halo sum {}", 4 * 80 * 4),
                fmt::format("bucket1/all_reduce over 0 and 1: sum over the batch {}",
                            aligned(9 * 3 * 8 * 4) + aligned(9 * 8 * 8 * 4) + 2 * aligned(8 * 4))}));
}

/// The order in which rank 0 runs the nodes whose names contain one of `parts`.
std::vector<std::string> order_of(const StepOptions& step, const std::vector<std::string>& parts) {
  std::vector<std::string> names;
  auto comms = make_local(2);
  std::vector<std::thread> threads;
  for (size_t r = 0; r < 2; ++r)
    threads.emplace_back([&, r] {
      const auto backend = make_cpu_backend(1);
      const Network network = small();
      Trainer trainer(network, {.step = step}, *comms[r], *backend, cpu_kernels());
      const StepPlan plan = trainer.planned().plan;
      for (const Entry& entry : plan.order) {
        const std::string& name = plan.graph.nodes()[static_cast<size_t>(entry.node)].name;
        if (r == 0 &&
            std::ranges::any_of(parts, [&](const auto& part) { return name.find(part) != std::string::npos; }))
          names.push_back(name);
      }
    });
  for (std::thread& thread : threads) thread.join();
  return names;
}

TEST(Halos, TravelWhileRowsThatNeedNoneAreComputed) {
  StepOptions step{.batch = 4, .lanes = 2, .strategy = parse_strategy("space_h=2")};
  const std::vector<std::string> parts{"conv2d", "input/"};
  const auto without = order_of(step, parts);
  EXPECT_EQ(std::ranges::find(without, "conv2d/interior"), without.end());  // images as small are not worth it
  step.strategy.overlap_from = 0;
  EXPECT_EQ(
      order_of(step, parts),
      (std::vector<std::string>{"input/space_h S(1)->W(1)", "conv2d/interior", "conv2d", "conv2d/space_h S(1)->W(1)",
                                "conv2d_1/interior", "conv2d_1", "conv2d_1/relu_grad", "conv2d_1/data_grad",
                                "conv2d_1/data_grad/space_h O(1)->S(1)", "conv2d_1/weight_grad", "conv2d/relu_grad",
                                "conv2d/weight_grad"}));
}

/// A batch norm between convolutions that need no halo.
Network normed() {
  Symbol x = Conv2D(8, {1, 1}, {.use_bias = false})(Input({6, 5, 3}));
  x = ReLU()(BatchNormalization()(x));
  x = GlobalAveragePooling2D()(Conv2D(12, {1, 1})(x));
  return Network("normed", Dense(10, {.activation = Activation::softmax})(x));
}

TEST(Traffic, OfABatchNormIsAFewNumbersAChannel) {
  auto lines = told(watch(normed(), "space_h=2", 2));
  std::erase_if(lines, [](const std::string& line) { return !line.starts_with("batch") || line.ends_with(" 0"); });
  // Two lanes, of each two numbers a channel: mean and squares of the member's rows, and its sums of gradients.
  EXPECT_EQ(lines, (std::vector<std::string>{
                       "batch_normalization/moments/space_h S(1)->R over 1: all-gather 128",
                       "batch_normalization/grad_sums/space_h P->R over 1: all-reduce 128",
                   }));
}

TEST(Traffic, OfADeepNetworkHasNoImageThatMovesForABatchNorm) {
  constexpr size_t channels = 5 * (64 + 128 + 256 + 512);  // of all batch norms
  // Numbers a channel: along both axes, what the first has gathered is gathered by the second.
  for (const auto& [strategy, ranks, numbers] :
       {std::tuple{"space_h=2", 2, size_t{2 + 2}}, {"space_h=2,space_w=2", 4, size_t{2 + 4 + 2 + 2}}}) {
    size_t norms = 0;
    for (const Collective& one : watch(resnet18({16, 16, 3}, 10), strategy, ranks)) {
      EXPECT_NE(one.kind, "all-to-all") << one.node;
      if (one.node.find("_norm/moments/") != std::string::npos ||
          one.node.find("_norm/grad_sums/") != std::string::npos)
        norms += one.bytes;
    }
    EXPECT_EQ(norms, 2 * channels * numbers * sizeof(float)) << strategy;  // two lanes
  }
}

TEST(Traffic, LostMomentsAreSeen) {
  const Network network = normed();
  StepOptions step{.batch = 4, .lanes = 2};
  const Trained one = train_by(network, step, 1, 1)[0];
  step.strategy = parse_strategy("space_h=2");
  for (const size_t lose : {size_t{0}, size_t{64}}) {
    auto comms = make_local(2);
    std::vector<double> off(2);
    std::vector<std::thread> threads;
    for (size_t r = 0; r < 2; ++r)
      threads.emplace_back([&, r] {
        Traffic traffic;
        traffic.lose = lose;
        traffic.only = 2 * 8 * 4;  // what a member tells of 8 channels; no other message is as long
        WatchedComm comm(*comms[r], traffic);
        off[r] = difference(train_by(network, step, 1, comm).gradients, one.gradients);
      });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(off[0] > 1e-5, lose > 0) << off[0];
  }
}

/// What a step sends inside lanes, without the bytes.
std::vector<std::string> moves(const Network& network, const Strategy& strategy) {
  std::vector<std::string> lines;
  const auto planned = watch_step(network, {.batch = 4, .lanes = 2, .strategy = strategy}, 2);
  for (const Collective& one : planned.at(0))
    if (one.kind != "sum over the batch") lines.push_back(one.node);
  return lines;
}

TEST(Traffic, OfADropoutBetweenWideLayersIsNone) {
  Symbol x = Dense(64, {.activation = Activation::relu})(Flatten()(Input({4, 4, 1})));
  const Network wide("wide", Dense(10, {.activation = Activation::softmax})(Dropout(0.5F)(x)));
  EXPECT_EQ(moves(wide, parse_strategy("filter=2")),
            (std::vector<std::string>{"dropout/filter S(1)->R", "dense_1/filter S(1)->R",
                                      "dense_1/data_grad/filter P->S(1)"}));
}

/// `rows` rows to flatten, and a dropout on either side.
Network flattened(int64_t rows) {
  Symbol x = Dropout(0.2F)(Conv2D(8, {1, 1}, {.activation = Activation::relu})(Input({rows, 5, 3})));
  return Network("flattened", Dense(10, {.activation = Activation::softmax})(Dropout(0.2F)(Flatten()(x))));
}

TEST(Traffic, OfFlatteningIsNoneWhereTheRowsDivide) {
  using Moves = std::vector<std::string>;
  EXPECT_EQ(moves(flattened(6), parse_strategy("space_h=2")),
            (Moves{"input/space_h S(1)->W(1)", "dropout_1/space_h S(1)->R"}));
  EXPECT_EQ(moves(flattened(7), parse_strategy("space_h=2")),
            (Moves{"input/space_h S(1)->W(1)", "dropout/space_h S(1)->R"}));
  EXPECT_EQ(moves(flattened(6), parse_strategy("space_w=2")),
            (Moves{"input/space_w S(2)->W(2)", "dropout/space_w S(2)->R"}));
  // A dense layer that adds terms of the features has them where they are.
  const Strategy pinned = read_strategy(
      written(R"({"mesh": {"space_h": 2}, "pins": [{"layers": "dense", "place": {"space_h": "channels"}}]})"));
  EXPECT_EQ(moves(flattened(6), pinned),
            (Moves{"input/space_h S(1)->W(1)", "dense/space_h P->S(1)", "dense/space_h P->S(1)/space_h S(1)->R",
                   "loss/grad/space_h R->S(1)/space_h S(1)->R"}));
}

TEST(Search, PredictsEveryMeshOfTheRanks) {
  Runtime runtime;
  const StepOptions step{.batch = 4, .lanes = 2};
  const Link link{.latency = 1e-6, .bandwidth = 1e9};
  const auto found = search_strategies(runtime, small(), step, SGD{}, 4, 1, link);
  std::set<std::string> strategies;
  for (size_t i = 0; i < found.size(); ++i) {
    const auto& [strategy, refusal, predicted] = found[i];
    strategies.insert(strategy);
    if (!refusal.empty()) {
      EXPECT_EQ(strategy, "data=4");  // two lanes
      EXPECT_EQ(i + 1, found.size());
      EXPECT_TRUE(says(refusal, {"2 lanes", "4 ranks"}));
      continue;
    }
    EXPECT_GT(predicted.compute, 0);
    EXPECT_GT(predicted.memory, 0U);
    if (i > 0) {
      EXPECT_GE(predicted.seconds(), found[i - 1].step.seconds());
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
    EXPECT_EQ(predicted.sent, most) << strategy;
    if (by.strategy.stages() == 1) {
      EXPECT_EQ(predicted.waiting, 0) << strategy;
      EXPECT_NEAR(predicted.communication, longest, 1e-9 * longest) << strategy;
    } else {
      // The slowest stage has work in every lane, and all others' first and last turns come before and behind it.
      EXPECT_GT(predicted.waiting, 0) << strategy;
      EXPECT_GT(predicted.communication, 0) << strategy;
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
  EXPECT_TRUE(says(error_of<InputError>([&] { predict_strategy(runtime, small(), step, SGD{}, 8, 1, link); }),
                   {"'stage' has 8 members", "4 layers"}));
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

TEST(Traffic, ALostHaloIsSeen) {
  const Network network = small();
  StepOptions step{.batch = 4, .lanes = 2};
  const Trained one = train_by(network, step, 1, 1)[0];
  step.strategy = parse_strategy("space_h=2");
  for (const auto& [lose, overlap_from] :
       {std::pair{size_t{0}, SIZE_MAX}, {size_t{120}, SIZE_MAX}, {size_t{0}, size_t{0}}, {size_t{120}, size_t{0}}}) {
    step.strategy.overlap_from = overlap_from;  // what is lost is a row of an image
    auto comms = make_local(2);
    std::vector<double> off(2);
    std::vector<std::thread> threads;
    for (size_t r = 0; r < 2; ++r)
      threads.emplace_back([&, r, dropped = lose] {
        Traffic traffic;
        traffic.lose = dropped;
        WatchedComm comm(*comms[r], traffic);
        off[r] = difference(train_by(network, step, 1, comm).gradients, one.gradients);
      });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(off[0] > 1e-5, lose > 0) << off[0];
  }
}

}  // namespace
}  // namespace lockstep::test
