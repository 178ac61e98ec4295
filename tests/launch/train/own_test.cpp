// What a program brings of its own: operators, layers, losses, metrics, optimizers, readers. The examples show each;
// here is what they are refused for.
#include <fstream>

#include "launch/lockstep.h"
#include "tests/launch/train/twice_op.h"
#include "tests/support/errors.h"
#include "tests/support/paths.h"
#include "tests/support/run_command.h"
#include "tests/support/temporary_folder.h"

namespace lockstep::test {
namespace {

class ForgottenOp final : public TwiceOp {
 public:
  std::string_view name() const override { return "forgotten"; }
};
class OfGpusOp final : public TwiceOp {
 public:
  std::string_view name() const override { return "of_gpus"; }
};

/// The plan of a network with that operator's layer.
std::string plan(std::shared_ptr<const Op> op) {
  Runtime runtime;
  Symbol x = OpLayer(std::move(op))(Input({4, 4, 1}));
  x = Dense(3, {.activation = Activation::softmax})(Flatten()(x));
  Model model(Network("own", x), runtime);
  model.compile({});
  return model.plan({.batch = 8, .ranks = 2, .backend = BackendChoice::cpu});
}

TEST(OwnOperator, IsPlannedWithItsKernelAndRefusedWithoutIt) {
  register_kernel<TwiceOp>("cpu", twice);
  EXPECT_TRUE(says(plan(std::make_shared<TwiceOp>()), {"twice"}));
  EXPECT_TRUE(says(error_of([] { plan(std::make_shared<ForgottenOp>()); }),
                   {"layer 'twice'", "no kernel of the operator 'forgotten'", "backend cpu", "register_kernel"}));
  register_kernel<OfGpusOp>("cuda", twice);
  EXPECT_TRUE(
      says(error_of([] { plan(std::make_shared<OfGpusOp>()); }), {"'of_gpus' for the backend cpu, only for cuda"}));
}

TEST(OwnOperator, HasOneKernelABackend) {
  class Other final : public TwiceOp {};
  register_kernel<Other>("cpu", twice);
  register_kernel<Other>("cuda", twice);
  EXPECT_TRUE(says(error_of([] { register_kernel<Other>("cpu", twice); }), {"backend cpu already"}));
  EXPECT_TRUE(says(error_of([] { register_kernel<Other>("cudo", twice); }), {"'cudo'", "did you mean 'cuda'"}));
}

TEST(OwnLayer, IsReadByItsTypeOnceRegistered) {
  const std::string text = R"({"layers": [{"type": "Input", "shape": [4, 4, 1]}, {"type": "Twice"}]})";
  EXPECT_TRUE(says(error_of([&] { network_from_json(text, "m.json"); }), {"m.json:1", "unknown layer type 'Twice'"}));
  register_layer<OpLayer>();
  const Network network = network_from_json(text, "m.json");
  EXPECT_TRUE(says(network_to_json(network), {R"("type": "Twice")"}));
  EXPECT_EQ(error_of([] { register_layer<OpLayer>(); }), "layer type 'Twice' is registered already");
  EXPECT_EQ(error_of([] { register_layer<Conv2D>(); }), "layer type 'Conv2D' is registered already");
}

TEST(OwnNames, AreTakenOnce) {
  const auto op = [](bool) { return std::make_shared<TwiceOp>(); };
  register_loss({.name = "own", .op = op});
  EXPECT_EQ(Loss("own").str(), "own");
  EXPECT_EQ(Loss("own").family(), Loss::Family::values);
  EXPECT_EQ(error_of([&] { register_loss({.name = "mse", .op = op}); }), "loss 'mse' is registered already");
  EXPECT_EQ(error_of([] { register_loss({.name = "none", .op = {}}); }), "loss 'none' has no operator");
  EXPECT_TRUE(says(error_of([] { Loss("ownn"); }), {"did you mean 'own'"}));
  const auto tally = [](const Loss&, const Shape&) { return Tally{}; };
  const auto value = [](std::span<const double>, int64_t) { return 0.0; };
  EXPECT_EQ(error_of([&] { register_metric({.name = "f1", .tally = tally, .value = value}); }),
            "metric 'f1' is registered already");
  EXPECT_EQ(error_of([&] { register_metric({.name = "own", .tally = tally, .value = {}}); }),
            "metric 'own' needs both functions, tally and value");
  EXPECT_EQ(error_of([] { register_reader("npy", "", {}); }), "data 'npy' is registered already");
  EXPECT_EQ(error_of([] { register_reader("", "", {}); }), "a data without a name cannot be registered");
}

/// As SGD with momentum.
CustomOptimizer momentum_of_its_own() {
  return {.name = "own_momentum",
          .lr = 0.05F,
          .options = {{"decay", 0.9}},
          .slots = {"v"},
          .check =
              [](std::span<const double> options) {
                if (!(options[0] < 1)) throw InputError("own_momentum: got decay {}", options[0]);
              },
          .update =
              [](const CustomUpdate& now) {
                const auto decay = static_cast<float>(now.options[0]);
                for (size_t i = 0; i < now.values.size(); ++i) {
                  float& v = now.slots[0][i];
                  v = decay * v + now.gradients[i];
                  now.values[i] = now.values[i] - now.lr * v;
                }
              }};
}

std::string trained_by(const Optimizer& optimizer, int ranks, bool shard) {
  Runtime runtime;
  Model model(seed_cnn({8, 8, 1}, 10), runtime);
  model.compile({.optimizer = optimizer});
  RunOptions run{.batch = 16, .lanes = 4, .ranks = ranks, .seed = 3, .backend = BackendChoice::cpu};
  run.strategy.shard_optimizer = shard;
  model.fit(prepare_data("digits").data.train, {.steps = 12, .run = run});
  return model.weights_sha256();
}

TEST(OwnOptimizer, HasTheBitsOfTheSameFormulaForAllRanks) {
  register_optimizer(momentum_of_its_own());
  Optimizer own = Optimizer::from_name("own_momentum");
  EXPECT_EQ(own.name(), "own_momentum");
  EXPECT_EQ(own.slot_names(), std::vector<std::string>{"v"});
  const std::string sgd = trained_by(SGD{.lr = 0.05F, .momentum = 0.9F}, 1, false);
  for (const int ranks : {1, 2, 4})
    for (const bool shard : {false, true}) EXPECT_EQ(trained_by(own, ranks, shard), sgd) << ranks << " " << shard;
  own.set("decay", 0.8);
  EXPECT_NE(trained_by(own, 1, false), sgd) << "negative control";
  own.set("decay", 1);
  EXPECT_EQ(error_of([&] { trained_by(own, 1, false); }), "own_momentum: got decay 1");
  EXPECT_TRUE(says(error_of([&] { own.set("decai", 1); }), {"option of own_momentum 'decai'", "'decay'"}));
}

TEST(OwnOptimizer, IsRefusedWithoutAnUpdateOrWithNamesThatAreTaken) {
  const auto refused = [](auto change) {
    CustomOptimizer one = momentum_of_its_own();
    one.name = "other";
    change(one);
    return error_of([&] { register_optimizer(one); });
  };
  EXPECT_EQ(refused([](CustomOptimizer& one) { one.update = {}; }), "optimizer 'other' has no update");
  EXPECT_EQ(refused([](CustomOptimizer& one) { one.name = "adam"; }), "optimizer 'adam' is registered already");
  for (const char* option : {"lr", "use_ema", "decay"})
    EXPECT_EQ(refused([&](CustomOptimizer& one) { one.options.emplace_back(option, 1); }),
              fmt::format("optimizer 'other': there is an option '{}' already", option));
}

std::string example(const std::string& command) { return binary_dir() + "/example_" + command; }
std::string sha_of(const std::string& command) {
  const Outcome outcome = run_command(example(command));
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  return outcome.line_after("weights sha256 ");
}

TEST(OwnExamples, Train) {
  for (const char* name : {"own_callback", "own_loss", "own_operator", "own_optimizer"})
    EXPECT_EQ(sha_of(name).size(), 64U) << name;
}

TEST(OwnExamples, ReadAFileAndSayWhatIsWrongWithIt) {
  const lockstep::testing::TemporaryFolder folder;
  const std::string file = (folder.path() / "digits.csv").string();
  EXPECT_EQ(run_command("gunzip -c " + source_dir() + "/launch/data/readers/digits.csv.gz >" + file).code, 0);
  EXPECT_EQ(sha_of("own_reader " + file).size(), 64U);
  std::ofstream(file, std::ios::app) << "1,2,3\n";
  const Outcome wrong = run_command(example("own_reader " + file));
  EXPECT_EQ(wrong.code, 2);
  EXPECT_TRUE(wrong.says("digits.csv:1798: 3 numbers, expected 64 grey levels and a class")) << wrong.text;
}

}  // namespace
}  // namespace lockstep::test
