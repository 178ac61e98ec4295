// Pipelines: stages that have the layers one after the other train to the bits of data parallelism.
#include "launch/model/model.h"
#include "launch/plan/placed_network.h"
#include "launch/plan/strategy_file.h"
#include "layers/zoo/zoo.h"
#include "parallel/mesh/stages.h"
#include "tests/launch/plan/random_network.h"
#include "tests/launch/plan/watched_step.h"
#include "tests/support/errors.h"

namespace lockstep::test {
namespace {

StepOptions staged(const std::string& strategy, PipelineSchedule schedule = PipelineSchedule::one_f_one_b) {
  StepOptions step{.batch = 16, .lanes = 8, .strategy = parse_strategy(strategy)};
  step.strategy.schedule = schedule;
  return step;
}

/// A layer's name, with its stage.
void pin(Strategy& strategy, const std::string& layers, int stage) {
  strategy.pins.push_back({.layers = layers, .place = {}, .stage = stage});
}

constexpr std::array both{PipelineSchedule::one_f_one_b, PipelineSchedule::gpipe};

TEST(Pipeline, HasTheBitsOfOneRank) {
  const Network network = branched();
  const Trained one = train_by(network, staged("data"), 4, 1)[0];
  for (const auto& [strategy, ranks] : {std::pair{"stage=2", 2},
                                        {"stage=3", 3},
                                        {"stage=4", 4},
                                        {"stage=6", 6},
                                        {"data=2,stage=2", 4},
                                        {"stage=2,data=4", 8},
                                        {"data=2,stage=4", 8}})
    for (const PipelineSchedule schedule : both)
      for (const Trained& rank : train_by(network, staged(strategy, schedule), 4, ranks)) {
        EXPECT_EQ(rank.sha256, one.sha256) << strategy << " " << name_of(schedule);
        EXPECT_EQ(rank.losses, one.losses) << strategy << " " << name_of(schedule);
      }
}

TEST(Pipeline, HasThemWithFewerLanesThanStagesToo) {
  const Network network = branched();
  for (const int lanes : {1, 2}) {
    StepOptions step{.batch = 8, .lanes = lanes};
    const Trained one = train_by(network, step, 2, 1)[0];
    step.strategy = parse_strategy("stage=4");
    EXPECT_EQ(train_by(network, step, 2, 4)[0].sha256, one.sha256) << lanes;
  }
}

TEST(Pipeline, HasThemWithEveryOtherWayToSaveMemory) {
  const Network network = branched();
  for (const bool scaled : {false, true})
    for (const auto& [strategy, ranks] : {std::pair{"stage=3", 3}, {"data=2,stage=2", 4}, {"stage=2,data=4", 8}}) {
      StepOptions step = staged("data");
      step.loss_scaling = scaled;
      const Trained one = train_by(network, step, 3, 1, BackendChoice::cpu, Adam{})[0];
      step.strategy = parse_strategy(strategy);
      step.strategy.shard_optimizer = true;
      step.recompute = {"batch_normalization*", "concat*"};
      const auto all = train_by(network, step, 3, ranks, BackendChoice::cpu, Adam{});
      EXPECT_EQ(all[0].sha256, one.sha256) << strategy;
      EXPECT_EQ(all.back().losses, one.losses) << strategy;
    }
}

TEST(Pipeline, TrainsDropoutAndZooModels) {
  Symbol x = Flatten()(Dropout(0.25F)(Conv2D(8, {3, 3}, {.activation = Activation::relu})(Input({8, 8, 1}))));
  x = Dropout(0.5F)(Dense(16, {.activation = Activation::relu})(x));
  const Network dropped("dropped", Dense(10, {.activation = Activation::softmax})(x));
  for (const Network& network : {dropped, seed_cnn({32, 32, 3}, 10), resnet18({16, 16, 3}, 10)}) {
    StepOptions step{.batch = 16, .lanes = 4};
    const Trained one = train_by(network, step, 2, 1)[0];
    step.strategy = parse_strategy("stage=2");
    EXPECT_EQ(train_by(network, step, 2, 2)[0].sha256, one.sha256) << network.name();
    step.strategy = parse_strategy("stage=3");
    EXPECT_EQ(train_by(network, step, 2, 3)[0].sha256, one.sha256) << network.name();
  }
}

TEST(Pipeline, TrainsNetworksFromASeed) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const Network network = random_network(seed, 4);
    StepOptions step{.batch = 8, .lanes = 4};
    const Trained one = train_by(network, step, 2, 1)[0];
    for (const int stages : {2, 3}) {
      step.strategy = parse_strategy(fmt::format("stage={}", stages));
      EXPECT_EQ(train_by(network, step, 2, stages)[0].sha256, one.sha256) << seed << " " << stages;
    }
  }
}

TEST(Pipeline, OfStagesThatShareALaneHasTheBitsOfThatSharing) {
  const Network network = branched();
  for (const auto& [inside, ranks] : {std::pair{"space_h=2", 2}, {"filter=2", 2}, {"channel=2", 2}}) {
    const auto alone = train_by(network, staged(inside), 3, ranks);
    for (const std::string& strategy : {std::string("stage=2,") + inside, std::string(inside) + ",stage=2"})
      EXPECT_EQ(train_by(network, staged(strategy), 3, 2 * ranks)[0].sha256, alone[0].sha256) << strategy;
  }
}

TEST(Pipeline, TakesLayersOfAnyName) {
  const Symbol x = GlobalAveragePooling2D()(Conv2D(8, {3, 3}).named("loss")(Input({8, 8, 1})));
  const Network network("named", Dense(10, {.activation = Activation::softmax})(x));
  const Trained one = train_by(network, staged("data"), 2, 1)[0];
  EXPECT_EQ(train_by(network, staged("stage=2"), 2, 2)[0].sha256, one.sha256);
}

TEST(Pipeline, BranchesCanBeOnDifferentStages) {
  const Symbol image = Input({12, 12, 3});
  const Symbol a = Conv2D(8, {3, 3}, {.activation = Activation::relu}).named("left")(image);
  const Symbol b = Conv2D(8, {3, 3}, {.activation = Activation::relu}).named("right")(image);
  const Symbol x = GlobalAveragePooling2D()(Concatenate().named("joined")({a, b}));
  const Network network("two", Dense(10, {.activation = Activation::softmax})(x));
  StepOptions step = staged("stage=2");
  const Trained one = train_by(network, staged("data"), 3, 1)[0];
  pin(step.strategy, "right", 1);
  EXPECT_EQ(train_by(network, step, 3, 2)[0].sha256, one.sha256);
  const auto planned = watch_step(network, step, 2);
  // 8 lanes of 2 samples: what is joined crosses once, and its gradient; two sums for the results.
  const size_t lane = 2 * 10 * 10 * 8 * sizeof(float);
  EXPECT_EQ(told(planned[0])[0], fmt::format("left/to stage 1 over 1: to a later stage {}", 8 * lane));
  EXPECT_TRUE(std::ranges::any_of(told(planned[1]), [&](const std::string& line) {
    return line == fmt::format("joined/grad0/to stage 0 over 1: to an earlier stage {}", 8 * lane);
  }));
}

TEST(Pipeline, SendsWhatWasPlanned) {
  for (const auto& [strategy, ranks] :
       {std::pair{"stage=2", 2}, {"stage=4", 4}, {"data=2,stage=2", 4}, {"stage=2,space_h=2", 4}})
    watch_step(branched(), staged(strategy), ranks);
}

TEST(Pipeline, WhatIsLostOnTheWayIsSeen) {
  const Network network = branched();
  const Trained one = train_by(network, staged("data"), 1, 1)[0];
  for (const size_t lose : {size_t{0}, size_t{4}}) {  // an element of each message
    auto comms = make_local(2);
    std::vector<std::string> sha256(2);
    std::vector<std::thread> threads;
    for (size_t r = 0; r < 2; ++r)
      threads.emplace_back([&, r] {
        Traffic traffic;
        traffic.lose = lose;
        WatchedComm comm(*comms[r], traffic);
        sha256[r] = train_by(network, staged("stage=2"), 1, comm).sha256;
      });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(sha256[0] == one.sha256, lose == 0);
  }
}

struct Size {
  int in_flight = 0;
  size_t bytes = 0, parameters = 0;
};

/// What each rank's plan takes.
std::vector<Size> sizes(const Network& network, const StepOptions& step, int ranks) {
  auto comms = make_local(ranks);
  std::vector<Size> all(comms.size());
  std::vector<std::thread> threads;
  for (size_t r = 0; r < comms.size(); ++r)
    threads.emplace_back([&, r] {
      const auto backend = make_cpu_backend(1);
      Trainer trainer(network, {.step = step}, *comms[r], *backend, cpu_kernels());
      const StepPlan plan = trainer.planned().plan;
      all[r] = {plan.in_flight, Executor::bytes(plan), plan.memory.size(Region::parameter)};
    });
  for (std::thread& thread : threads) thread.join();
  return all;
}

TEST(Pipeline, KeepsAsManyLanesAsTheScheduleSays) {
  const Network network = seed_cnn({32, 32, 3}, 10);
  const auto few = sizes(network, staged("stage=4"), 4), many = sizes(network, staged("stage=4", both[1]), 4);
  for (size_t stage = 0; stage < 4; ++stage) {
    EXPECT_EQ(few[stage].in_flight, 4 - static_cast<int>(stage));
    EXPECT_EQ(many[stage].in_flight, 8);
    EXPECT_GE(many[stage].bytes, few[stage].bytes);
  }
  EXPECT_GT(many[3].bytes, few[3].bytes);
  // Variables are on one stage each.
  const size_t whole = sizes(network, staged("data"), 1)[0].parameters;
  size_t shared = 0;
  for (const Size& size : few) shared += size.parameters;
  EXPECT_EQ(shared, whole);
}

TEST(Pipeline, ARankWithOtherBitsThanItsReplicaIsNamed) {
  const Network network = branched();
  const StepOptions step = staged("data=2,stage=2");
  for (const bool off : {false, true}) {
    auto comms = make_local(4);
    std::vector<std::string> errors(4);
    std::vector<std::thread> threads;
    for (size_t r = 0; r < 4; ++r)
      threads.emplace_back([&, r] {
        const auto backend = make_cpu_backend(1);
        Trainer trainer(network, {.step = step}, *comms[r], *backend, cpu_kernels());
        Weights weights = trainer.variables().get();
        if (off && r == 3)
          for (auto& [name, values] : weights) values[0] = std::nextafter(values[0], 2.0F);
        trainer.variables().set(weights);
        try {
          trainer.variables().check_replicas();
        } catch (const Error& error) {
          errors[r] = error.what();
        }
      });
    for (std::thread& thread : threads) thread.join();
    for (const std::string& error : errors) {
      EXPECT_EQ(error.empty(), !off);
      if (off) {
        EXPECT_TRUE(says(error, {"what rank 1 holds", "on rank 3"}));
      }
    }
  }
}

TEST(Pipeline, EvaluatesAndPredictsAsOneRankDoes) {
  const Network network = branched();
  const auto data = std::make_shared<Noise>(network.input_shape(), 10, 13);  // a short last batch
  Runtime runtime;
  Model model(network, runtime);
  model.compile({.optimizer = SGD{.lr = 0.05F}});
  RunOptions run{.batch = 8, .lanes = 4, .ranks = 1, .backend = BackendChoice::cpu};
  model.fit(data, {.epochs = 2, .run = run});
  const Evaluation one = model.evaluate(data, run);
  const auto predictions = model.predict(data, run);
  for (const auto& [strategy, ranks] : {std::pair{"stage=3", 3}, {"data=2,stage=2", 4}}) {
    run.strategy = parse_strategy(strategy);
    run.ranks = ranks;
    EXPECT_EQ(model.evaluate(data, run).loss, one.loss) << strategy;
    EXPECT_EQ(model.predict(data, run), predictions) << strategy;
  }
}

TEST(Stages, ShareTheWorkOut) {
  for (const int stages : {2, 3, 5}) {
    const Network network = resnet18({32, 32, 3}, 10);
    StepOptions step = staged(fmt::format("stage={}", stages));
    const Strategy strategy = PlacedNetwork(network, step, stages).strategy();
    Built built = network.build(step.batch, step.lanes, true);
    assign_stages(built.graph, strategy);
    double all = 0, largest_layer = 0, most = 0;
    for (const Node& node : built.graph.nodes()) largest_layer = std::max(largest_layer, work_of(built.graph, node));
    for (const double work : work_by_stage(built.graph, strategy)) {
      all += work;
      most = std::max(most, work);
    }
    EXPECT_LE(most, all / stages + largest_layer) << stages;
  }
}

TEST(Stages, WaitAsTheFormulaSays) {
  // Huang et al.: (stages - 1) of (lanes + stages - 1) turns, where all take as long.
  for (const PipelineSchedule schedule : both)
    for (const size_t stages : {1U, 2U, 4U, 8U})
      for (const int lanes : {1, 4, 16}) {
        const std::vector<double> work(stages, 1.5);
        const double s = static_cast<double>(stages) - 1;
        EXPECT_NEAR(bubble_share(schedule, work, lanes), s / (lanes + s), 1e-12) << stages << " " << lanes;
      }
  // By hand: the slower of two stages works 3 * 2 for each of 2 lanes; the other's forward part of 1 comes before, and
  // its backward part of 2 after. 18 of 2 * 15 are worked.
  EXPECT_NEAR(bubble_share(both[0], std::vector<double>{1, 2}, 2), 1 - 18.0 / 30, 1e-12);
}

TEST(Stages, WaitForWhatIsSentAndForCores) {
  const auto seconds = [](std::vector<StageCost> stages, int lanes, double at_once) {
    return makespan(PipelineSchedule::one_f_one_b, stages, lanes, at_once);
  };
  constexpr double all = 8;
  EXPECT_DOUBLE_EQ(seconds({{2}}, 4, all), 24);
  EXPECT_DOUBLE_EQ(seconds({{1}, {2}}, 2, all), 15);
  // One lane: forward, sent, forward and backward, sent, backward.
  EXPECT_DOUBLE_EQ(seconds({{.work = 1, .to_next = 10}, {.work = 1, .to_previous = 100}}, 1, all),
                   1 + 10 + 3 + 100 + 2);
  // Of two lanes, the second one's ways are hidden but for what the first stage waits.
  EXPECT_DOUBLE_EQ(seconds({{.work = 1, .to_next = 0.5}, {.work = 1}}, 2, all), 1 + 0.5 + 6 + 2);
  // Stages that share one core take what all of them work, and nobody waits but for that.
  EXPECT_DOUBLE_EQ(seconds({{1}, {2}, {3}}, 4, 1), 3 * 4 * (1 + 2 + 3));
  EXPECT_DOUBLE_EQ(seconds({{1}, {1}}, 2, 0.5), 2 * 3 * 2 * 2);
  // Never less than the busiest stage's own work, nor than what the cores have to do.
  for (const PipelineSchedule schedule : both)
    for (const double cores : {1.0, 1.5, 2.0, 4.0})
      for (const int lanes : {1, 2, 8}) {
        const std::vector<StageCost> stages{{0.3}, {1.1}, {0.7}, {0.9}};
        const double span = makespan(schedule, stages, lanes, cores);
        EXPECT_GE(span, 3 * lanes * 1.1);
        EXPECT_GE(span * cores, 3 * lanes * 3.0 * (1 - 1e-12));
        EXPECT_LE(span, 3 * lanes * 3.0 * (1 + 1e-12));
      }
}

TEST(Stages, TakeTurnsThatEndEachLaneOnceInOrder) {
  for (const PipelineSchedule schedule : both)
    for (const int stages : {1, 2, 5})
      for (int stage = 0; stage < stages; ++stage)
        for (const int lanes : {1, 2, 8}) {
          int begun = 0, ended = 0;
          for (const Turn& turn : turns_of(schedule, stage, stages, lanes)) {
            EXPECT_EQ(turn.lane, turn.phase == Phase::forward ? begun++ : ended++);
            EXPECT_LE(ended, begun);
          }
          EXPECT_EQ(begun, lanes);
          EXPECT_EQ(ended, lanes);
        }
}

TEST(Stages, WhatCannotBeIsRefused) {
  const Network network = branched();
  const auto refusal = [&](const StepOptions& step, int ranks) {
    return error_of<InputError>([&] { train_by(network, step, 1, ranks); });
  };
  EXPECT_TRUE(says(refusal(staged("stage=16"), 16), {"'stage' has 16 members", "layers that compute something"}));
  StepOptions step = staged("stage=2");
  pin(step.strategy, "dense*", 2);
  EXPECT_TRUE(says(refusal(step, 2), {"pin 'dense*'", "stage 2", "0 to 1"}));
  step = staged("stage=2");
  pin(step.strategy, "conv2d", 1);
  pin(step.strategy, "dense", 0);
  EXPECT_TRUE(says(refusal(step, 2), {"'dense' is on stage 0", "stage 1"}));
  step = staged("stage=3");
  pin(step.strategy, "dense", 2);
  EXPECT_TRUE(says(refusal(step, 3), {"no layer is on stage 1 of 3"}));
  step = staged("data=2");
  pin(step.strategy, "dense", 1);
  EXPECT_TRUE(says(refusal(step, 2), {"pin 'dense' names stage 1", "no axis 'stage'"}));
  step = staged("stage=2");
  pin(step.strategy, "re_lu*", 1);
  EXPECT_TRUE(says(refusal(step, 2), {"'re_lu' is pinned to stage 1", "part of 'batch_normalization'", "stage 0"}));
  step = staged("stage=2");
  pin(step.strategy, "dence", 1);
  EXPECT_TRUE(says(refusal(step, 2), {"'dence' matches no layer", "'dense'"}));
  EXPECT_TRUE(says(refusal(staged("stage=auto"), 2), {"stage=auto", "resolved"}));
  step = staged("stage=2");
  step.numerics = Numerics::fast;
  EXPECT_TRUE(says(refusal(step, 2), {"fast numerics", "2 stages"}));
  EXPECT_TRUE(says(error_of<InputError>([] { schedule_from_name("gpip"); }), {"'gpip'", "'gpipe'"}));
}

TEST(Stages, AutoSharesTheRanksThatThereAre) {
  Strategy strategy = parse_strategy("data=2,stage=auto,filter=2");
  EXPECT_TRUE(says(error_of<InputError>([&] { resolve_stages(strategy, 0); }), {"--ranks N"}));
  EXPECT_TRUE(says(error_of<InputError>([&] { resolve_stages(strategy, 6); }), {"6 ranks", "4 places"}));
  resolve_stages(strategy, 12);
  EXPECT_EQ(strategy.stages(), 3);
  Strategy none = parse_strategy("stage=auto");
  resolve_stages(none, 1);
  EXPECT_EQ(none.mesh.size(), 1U);
  Runtime runtime;
  Model model(branched(), runtime);
  model.compile({});
  const RunOptions run{.batch = 8, .lanes = 4, .ranks = 2, .strategy = parse_strategy("stage=auto")};
  EXPECT_TRUE(says(model.plan(run, "layers"), {"pipeline 1f1b", "stage 1"}));
  const ResolvedRun resolved = model.resolve(run);
  EXPECT_EQ(resolved.ranks, 2);
  EXPECT_EQ(resolved.lanes, 4);
  EXPECT_EQ(resolved.threads, 1);
  EXPECT_EQ(resolved.step.strategy.stages(), 2);
  StepOptions unplaced = resolved.step;
  unplaced.strategy.layer_stages.clear();
  EXPECT_FALSE(resolved.step.strategy.layer_stages.empty());
  EXPECT_EQ(resolved.step.strategy.layer_stages, PlacedNetwork(branched(), unplaced, 2).strategy().layer_stages);
  RunOptions refused = run;
  refused.batch = 9;
  EXPECT_TRUE(says(error_of<InputError>([&] { model.resolve(refused); }), {"batch 9", "4 lanes"}));
  EXPECT_TRUE(says(error_of<InputError>([] { parse_strategy("stage=0"); }), {"'stage'", "expected 1"}));
  EXPECT_TRUE(says(error_of<InputError>([] { parse_strategy("filter=auto"); }), {"'filter=auto'"}));
}

}  // namespace
}  // namespace lockstep::test
