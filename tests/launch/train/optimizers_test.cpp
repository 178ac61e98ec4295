// Every optimizer with what is around it, in whole training steps: against PyTorch's numbers and papers' formulas, made
// by tests/golden/make_optimizers.py; the same bits for every number of ranks; and what is refused.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "launch/lockstep.h"
#include "launch/train/trainer.h"
#include "layers/cpu/kernels.h"
#include "tests/launch/plan/model_parallel.h"
#include "tests/launch/train/golden.h"
#include "tests/launch/train/training.h"
#include "tests/support/errors.h"
#include "tests/support/source_files.h"

namespace lockstep::test {
namespace {

struct Case {
  std::string name;  // in the golden file
  Optimizer optimizer;
  bool norms = false;  // it needs those of whole variables
};

const SGD momentum{.lr = 0.05F, .momentum = 0.9F};

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {"nesterov", SGD{.lr = 0.05F, .momentum = 0.9F, .nesterov = true}},
      {"adamw", AdamW{.lr = 0.01F, .weight_decay = 0.5F}},
      {"adamw_but_biases", Optimizer(AdamW{.lr = 0.01F, .weight_decay = 0.5F}, {.exclude_bias_and_norm = true})},
      {"rmsprop", RMSprop{.lr = 0.003F, .epsilon = 1e-3F, .weight_decay = 0.01F}},
      {"rmsprop_centered", RMSprop{.lr = 0.003F, .momentum = 0.9F, .epsilon = 1e-3F, .centered = true}},
      {"adagrad", Adagrad{.lr = 0.05F}},
      {"lars", LARS{.lr = 2, .weight_decay = 0.01F}, true},
      {"lamb", LAMB{.lr = 0.01F, .weight_decay = 0.1F}, true},
      {"lookahead", Optimizer(momentum, {.lookahead_steps = 3, .lookahead_alpha = 0.4F})},
      {"ema", Optimizer(momentum, {.use_ema = true, .ema_momentum = 0.9F})},
      {"clipvalue", Optimizer(momentum, {.clipvalue = 0.01F})},
      {"clipnorm", Optimizer(momentum, {.clipnorm = 0.1F}), true},
      {"global_clipnorm", Optimizer(momentum, {.global_clipnorm = 0.3F}), true},
      {"penalty", momentum},
  };
  return all;
}

Network network_of(const std::string& name) {
  return name == "penalty" ? branches_network(L1L2(0.001F, 0.01F)) : branches_network();
}

/// The largest difference of final variables to the golden numbers of the case, relative to 1 + |golden|; NaN counts as
/// infinite.
double worst_difference(const nlohmann::json& golden, const Case& tested, const Cut& cut) {
  double worst = 0;
  Runtime runtime;
  const Network network = network_of(tested.name);
  runtime.run(cut.ranks, [&](RankContext& rank) {
    const auto backend = make_cpu_backend(1);
    Trainer trainer(network, {{batch_size, cut.lanes, cut.numerics}, tested.optimizer, 0}, rank.comm, *backend,
                    cpu_kernels());
    trainer.variables().set(initial_weights(network));
    double off = 0;
    const auto compare = [&](double got, double want) {
      const double difference = std::abs(got - want) / (1 + std::abs(want));
      off = difference <= off ? off : std::isnan(difference) ? INFINITY : difference;
    };
    for (int64_t step = 0; step < 10; ++step)
      compare(trainer.train(golden_batch(step, cut, rank.comm.rank()), tested.optimizer.lr()).loss,
              golden["losses"][static_cast<size_t>(step)].get<double>());
    if (tested.optimizer.common.use_ema) trainer.take_average();
    const Weights weights = trainer.variables().get();
    for (const auto& [name, values] : golden["variables"].items())
      for (size_t i = 0; i < values.size(); ++i) compare(weights.at(name).at(5 * i), values[i].get<double>());
    if (rank.comm.rank() == 0) worst = off;
  });
  return worst;
}

/// As in golden_test.cpp.
constexpr double tolerance = 5e-5;

TEST(Optimizers, TenStepsAgreeWithPyTorchOrThePaper) {
  const auto golden = golden_json("optimizers.json")["cases"];
  ASSERT_EQ(golden.size(), cases().size());
  for (const Case& tested : cases()) {
    EXPECT_LE(worst_difference(golden[tested.name], tested, {8, 2}), tolerance) << tested.name;
    // Plain momentum is seen; with a penalty, that there is none.
    const Case other{tested.name == "penalty" ? "" : tested.name, momentum};
    EXPECT_GT(worst_difference(golden[tested.name], other, {8, 2}), tolerance) << tested.name;
  }
}

/// One that is cheap to train, with biases and the parameters of norms.
Network penalised_network() {
  Symbol x = Conv2D(6, {3, 3}, {.kernel_regularizer = L1L2(1e-3F, 1e-2F)})(Input({8, 8, 1}));
  x = MaxPooling2D({2, 2})(ReLU()(BatchNormalization()(x)));
  return Network("penalised", Dense(10, {.activation = Activation::softmax, .bias_regularizer = L1()})(Flatten()(x)));
}

TEST(Optimizers, GiveTheSameBitsForEveryNumberOfRanks) {
  const Network network = penalised_network();
  for (const Case& tested : cases()) {
    const RunSpec run{.batch = 16, .samples = 40, .steps = 4, .optimizer = tested.optimizer};
    const auto one = train(network, run)[0];
    for (int ranks : {2, 4}) {
      RunSpec many = run;
      many.ranks = ranks;
      for (const auto& rank : train(network, many)) EXPECT_EQ(rank, one) << tested.name << " " << ranks;
    }
    RunSpec flipped = run;
    flipped.flip_bit = true;
    EXPECT_NE(train(network, flipped)[0].back().hash, one.back().hash) << tested.name;
  }
}

TEST(Optimizers, GiveTheSameBitsWhereTheyAreSharded) {
  const Network network = penalised_network();
  for (const Case& tested : cases())
    for (const bool scaled : {false, true}) {
      StepOptions step{.batch = 16, .lanes = 8};
      step.loss_scaling = scaled;
      const auto whole = train_by(network, step, 4, 1, BackendChoice::cpu, tested.optimizer)[0];
      step.strategy.shard_optimizer = true;
      for (const int ranks : tested.norms ? std::vector<int>{1, 2, 4, 8} : std::vector<int>{4})
        for (const Trained& rank : train_by(network, step, 4, ranks, BackendChoice::cpu, tested.optimizer))
          EXPECT_EQ(rank.sha256, whole.sha256) << tested.name << " " << ranks << (scaled ? " scaled" : "");
    }
}

TEST(Optimizers, GiveTheSameBitsInAPipeline) {
  const Network network = penalised_network();
  for (const Case& tested : cases()) {
    StepOptions step{.batch = 16, .lanes = 8};
    const auto whole = train_by(network, step, 3, 1, BackendChoice::cpu, tested.optimizer)[0];
    step.strategy = parse_strategy("stage=2");
    for (const Trained& rank : train_by(network, step, 3, 4, BackendChoice::cpu, tested.optimizer))
      EXPECT_EQ(rank.sha256, whole.sha256) << tested.name;
  }
}

TEST(Optimizers, NormsAreOfWholeVariablesWhereTheseAreCut) {
  // Rows cut the slopes, and the channels that groups are normalised by.
  Symbol x = Conv2D(6, {3, 3}, {.use_bias = false, .kernel_regularizer = L1L2(1e-3F, 1e-2F)})(Input({10, 9, 1}));
  x = MaxPooling2D({2, 2})(PReLU()(GroupNormalization(2)(x)));
  const Network network("cut", Dense(10, {.activation = Activation::softmax})(Flatten()(x)));
  const auto by = [&](const char* strategy, int ranks, const Optimizer& optimizer, bool shares = false) {
    StepOptions step{.batch = 8, .lanes = 4, .strategy = parse_strategy(strategy)};
    step.strategy.shard_optimizer = shares;
    const auto all = train_by(network, step, 2, ranks, BackendChoice::cpu, optimizer);
    for (const Trained& rank : all) EXPECT_EQ(rank.sha256, all[0].sha256) << strategy;
    return all[0];
  };
  for (const Case& tested : cases()) {
    if (!tested.norms) continue;
    const Trained one = by("data", 1, tested.optimizer);
    for (const auto& [strategy, ranks] : {std::pair{"filter=2", 2},
                                          {"channel=2", 2},
                                          {"space_h=2", 2},
                                          {"space_w=3", 3},
                                          {"space_h=2,filter=3", 6},
                                          {"data=2,space_h=2,filter=2", 8},
                                          {"filter=2,stage=2", 4},
                                          {"data=2,stage=2,space_w=2", 8}})
      for (const bool shares : {false, true}) {
        const Trained many = by(strategy, ranks, tested.optimizer, shares);
        std::string worst;
        EXPECT_LE(difference(many.weights, one.weights, &worst), 2e-5)
            << tested.name << " " << strategy << " " << worst;
        EXPECT_NEAR(many.losses[1], one.losses[1], 2e-5 * one.losses[1]) << tested.name << " " << strategy;
      }
    // The control: norms that are half as large, as of half a variable, are seen.
    EXPECT_GT(difference(by("data", 1, momentum).weights, one.weights), 1e-3) << tested.name;
  }
}

TEST(Optimizers, LossScalingDoesNotChangeWhatIsClippedOrPenalised) {
  const Network network = penalised_network();
  for (const Case& tested : cases()) {
    RunSpec run{.batch = 16, .samples = 40, .steps = 4, .optimizer = tested.optimizer};
    const auto plain = train(network, run)[0];
    run.loss_scaling = true;
    run.first_scale = LossScale{256, 0};
    const auto scaled = train(network, run)[0];
    // Scales are powers of two: no rounding differs but that of norms, of squares in double.
    EXPECT_EQ(scaled.back().loss, plain.back().loss) << tested.name;
  }
}

TEST(Optimizers, TheAverageIsWhatAFitLeaves) {
  Runtime runtime;
  const auto data = prepare_data("digits", {.resize = "28"}).data.train;
  const auto trained = [&](CommonOptions common, int64_t steps) {
    Model model(zoo_model("lenet5", {28, 28, 1}, 10), runtime);
    model.compile({.optimizer = Optimizer(momentum, common)});
    model.fit(data, {.steps = steps, .run = {.ranks = 2}});
    return model.weights();
  };
  const Weights one = trained({}, 1), two = trained({}, 2);
  const Weights average = trained({.use_ema = true, .ema_momentum = 0.75F}, 2);
  double off = 0, moved = 0;
  for (const auto& [name, values] : average)
    for (size_t i = 0; i < values.size(); ++i) {
      off = std::max(off, std::abs(values[i] - (0.75 * one.at(name)[i] + 0.25 * two.at(name)[i])));
      moved = std::max(moved, std::abs(double{values[i]} - two.at(name)[i]));
    }
  EXPECT_TRUE(off <= 1e-6) << off;
  EXPECT_TRUE(moved > 1e-4) << moved;
}

TEST(Optimizers, AreKnownByNameAndOption) {
  for (const std::string& name : Optimizer::names())
    EXPECT_EQ(Optimizer::from_name(name).name(), name == "momentum" ? "sgd" : name);
  Optimizer optimizer = RMSprop{};
  optimizer.set("centered", 1);
  optimizer.set("momentum", 0.5);
  optimizer.set("lookahead_steps", 6);
  optimizer.set("use_ema", 1);
  EXPECT_EQ(optimizer.slot_names(), (std::vector<std::string>{"v", "average", "momentum", "slow", "ema"}));
  EXPECT_EQ(Optimizer(SGD{}).slot_names(), std::vector<std::string>{});
  EXPECT_TRUE(Optimizer(LAMB{}).excludes_bias_and_norm());
  EXPECT_TRUE(says(error_of([&] { optimizer.set("betta", 1); }), {"option of rmsprop 'betta'", "rho"}));
  EXPECT_EQ(error_of([&] { optimizer.set("centered", 2); }), "rmsprop: got centered 2, expected 0 or 1");
  optimizer.set("rho", 1);
  EXPECT_EQ(error_of([&] { optimizer.check(); }), "rmsprop: got rho 1, expected 0 <= rho < 1");
  EXPECT_EQ(error_of([] { Optimizer(SGD{}, {.clipnorm = 1, .global_clipnorm = 1}).check(); }),
            "gradients: got clipvalue 0, clipnorm 1 and global_clipnorm 1, expected one of them at most");
  EXPECT_EQ(error_of([] { LARS{.eeta = 0}.check(); }), "lars: got eeta 0, expected a number above 0");
}

TEST(Regularizers, AreReadAndWrittenByName) {
  const auto network = [](const std::string& regularizer) {
    return network_from_json(R"({"layers": [{"type": "Input", "shape": [4]}, {"type": "Dense", "units": 2,
        "activation": "softmax", "kernel_regularizer": )" +
                                 regularizer + "}]}",
                             "here");
  };
  const auto of = [&](const std::string& text) { return network(text).variables()[0].regularizer; };
  EXPECT_EQ(of("null"), Regularizer{});
  EXPECT_EQ(of("\"l2\""), L2());
  EXPECT_EQ(of("\"l1_l2\""), L1L2());
  EXPECT_EQ(of(R"({"l1": 0.5})"), L1(0.5F));
  const Network again = network_from_json(network_to_json(network(R"({"l1": 0.5, "l2": 0.25})")), "here");
  EXPECT_EQ(again.variables()[0].regularizer, L1L2(0.5F, 0.25F));
  EXPECT_EQ(again.variables()[1].regularizer, Regularizer{});
  for (const char* bad : {"\"l3\"", "{}", R"({"l2": -1})", R"({"l4": 1})", "0.1"})
    EXPECT_TRUE(says(error_of([&] { of(bad); }), {"key 'kernel_regularizer' is", "numbers from 0"})) << bad;
}

/// Variables that can be penalised, by every layer that has any: number i by `penalty(i)`.
constexpr std::array penalised_variables{
    "conv/kernel",     "conv/bias",        "depthwise/kernel", "depthwise/bias",  "separable/depthwise_kernel",
    "separable/bias",  "batch_norm/gamma", "batch_norm/beta",  "prelu/alpha",     "separable/pointwise_kernel",
    "up/kernel",       "up/bias",          "group_norm/gamma", "group_norm/beta", "layer_norm/gamma",
    "layer_norm/beta", "dense/kernel",     "dense/bias"};

Regularizer penalty(size_t variable) {
  const auto i = static_cast<float>(variable);
  return L1L2(0.01F * (i + 1), 0.5F / (i + 1));
}

Network every_regularizer(bool penalised) {
  const auto on = [&](std::string_view variable) {
    const auto found = std::ranges::find(penalised_variables, variable);
    return penalised ? penalty(static_cast<size_t>(found - penalised_variables.begin())) : Regularizer{};
  };
  Symbol x = Conv2D(4, {3, 3}, {.kernel_regularizer = on("conv/kernel"), .bias_regularizer = on("conv/bias")})
                 .named("conv")(Input({8, 8, 1}));
  x = DepthwiseConv2D({3, 3},
                      {.depthwise_regularizer = on("depthwise/kernel"), .bias_regularizer = on("depthwise/bias")})
          .named("depthwise")(x);
  x = SeparableConv2D(6, {3, 3},
                      {.depthwise_regularizer = on("separable/depthwise_kernel"),
                       .pointwise_regularizer = on("separable/pointwise_kernel"),
                       .bias_regularizer = on("separable/bias")})
          .named("separable")(x);
  x = BatchNormalization({.beta_regularizer = on("batch_norm/beta"), .gamma_regularizer = on("batch_norm/gamma")})
          .named("batch_norm")(x);
  x = PReLU({1, 2}, on("prelu/alpha")).named("prelu")(x);
  x = Conv2DTranspose(4, {2, 2}, {.kernel_regularizer = on("up/kernel"), .bias_regularizer = on("up/bias")})
          .named("up")(x);
  x = GroupNormalization(2, {.beta_regularizer = on("group_norm/beta"), .gamma_regularizer = on("group_norm/gamma")})
          .named("group_norm")(x);
  x = LayerNormalization({.beta_regularizer = on("layer_norm/beta"), .gamma_regularizer = on("layer_norm/gamma")})
          .named("layer_norm")(x);
  return Network("every_regularizer", Dense(10, {.activation = Activation::softmax,
                                                 .kernel_regularizer = on("dense/kernel"),
                                                 .bias_regularizer = on("dense/bias")})
                                          .named("dense")(GlobalAveragePooling2D()(x)));
}

TEST(Regularizers, AddKerasPenaltyToEveryGradient) {
  const Network network = every_regularizer(true);
  const Weights weights = initial_weights(network);
  const auto gradients = [&](const Network& of) {
    const auto comms = make_local(1);
    const auto backend = make_cpu_backend(1);
    Trainer trainer(of, {{batch_size, 1}, momentum, 0}, *comms[0], *backend, cpu_kernels());
    trainer.variables().set(weights);
    trainer.train(golden_batch(0, {}, 0), 0);
    return trainer.variables().get_slots().at(0);  // momentum's first velocity
  };
  const Weights plain = gradients(every_regularizer(false)), penalised = gradients(network);
  ASSERT_EQ(plain.size(), penalised_variables.size());
  for (size_t v = 0; v < penalised_variables.size(); ++v) {
    const std::string name = penalised_variables[v];
    /// How far the difference is from the penalty's derivative, l1 sign(w) + 2 l2 w.
    const auto off = [&](const Regularizer& by) {
      double worst = 0;
      for (size_t i = 0; i < weights.at(name).size(); ++i) {
        const double w = weights.at(name)[i], g = plain.at(name)[i];
        const double want = by.l1 * (w > 0 ? 1 : w < 0 ? -1 : 0) + 2.0 * by.l2 * w;
        const double error = std::abs(penalised.at(name)[i] - g - want) / (1 + std::abs(g));
        worst = error <= worst ? worst : std::isnan(error) ? INFINITY : error;
      }
      return worst;
    };
    EXPECT_LE(off(penalty(v)), 1e-6) << name;
    EXPECT_GT(off(L1(penalty(v).l1)), 1e-4) << name;
    EXPECT_GT(off(L2(penalty(v).l2)), 1e-4) << name;
  }
}

TEST(Regularizers, OfEveryLayerAreInItsJson) {
  const Network network = every_regularizer(true);
  const auto penalties = [](const Network& of) {
    std::vector<Regularizer> all;
    for (const Variable& variable : of.variables()) all.push_back(variable.regularizer);
    return all;
  };
  const Network again = network_from_json(network_to_json(network), "again");
  EXPECT_EQ(penalties(again), penalties(network));
  EXPECT_NE(penalties(network_from_json(network_to_json(every_regularizer(false)), "plain")), penalties(network));
  EXPECT_EQ(error_of([] {
              Network("n", DepthwiseConv2D({3, 3}, {.pointwise_regularizer = L2()})(Input({8, 8, 1})));
            }),
            "layer 'depthwise_conv2d': a DepthwiseConv2D has no pointwise kernel; expected depthwise_regularizer or "
            "bias_regularizer");
}

}  // namespace
}  // namespace lockstep::test
