// What a step moves between ranks that share a lane, by strategy; that it is what was planned; and that what is lost on
// the way is seen.
#include "launch/train/trainer.h"
#include "layers/zoo/zoo.h"
#include "tests/launch/plan/watched_step.h"

namespace lockstep::test {
namespace {

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
std::vector<std::string> order_of(const StepOptions& step, const std::vector<std::string>& parts, int ranks = 2) {
  std::vector<std::string> names;
  auto comms = make_local(ranks);
  std::vector<std::thread> threads;
  for (size_t r = 0; r < comms.size(); ++r)
    threads.emplace_back([&, r] {
      const auto backend = make_cpu_backend(1);
      const Network network = small();
      Trainer trainer(network, {.step = step}, *comms[r], *backend, cpu_kernels());
      const StepPlan plan = trainer.planned().plan;
      for (const Entry& entry : plan.order) {
        const std::string& name = plan.graph.node(entry.node).name;
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
  // Where columns are cut too, their halo comes first, and the halo of rows is the one that has something beside it.
  for (const char* strategy : {"space_h=2,space_w=2", "space_w=2,space_h=2"}) {
    step.strategy = parse_strategy(strategy);
    step.strategy.overlap_from = 0;
    EXPECT_EQ(order_of(step, {"input/", "conv2d/interior"}, 4),
              (std::vector<std::string>{"input/space_w S(2)->W(2)", "input/space_w S(2)->W(2)/space_h S(1)->W(1)",
                                        "conv2d/interior"}))
        << strategy;
  }
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
  Strategy pinned = parse_strategy("space_h=2");
  pinned.pins.push_back({.layers = "dense", .place = {{"space_h", Cut::channels}}});
  EXPECT_EQ(moves(flattened(6), pinned),
            (Moves{"input/space_h S(1)->W(1)", "dense/space_h P->S(1)", "dense/space_h P->S(1)/space_h S(1)->R",
                   "loss/grad/space_h R->S(1)/space_h S(1)->R"}));
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
