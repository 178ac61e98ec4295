// Random networks of every layer, optimizer, schedule and loss, trained for a few steps and compared with what PyTorch
// in double precision makes of them: tests/golden/differential.json, made by tests/differential/run N --golden FILE.
// Images, targets and first weights are random numbers by formulas that both sides have.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/random.h"
#include "launch/lockstep.h"
#include "launch/plan/strategy_file.h"
#include "tests/support/source_files.h"
#include "tests/support/test_backend.h"

namespace lockstep::test {
namespace {

using Json = nlohmann::ordered_json;

/// FNV-1a: a stream of numbers for each name.
uint32_t name_hash(const std::string& name) {
  uint32_t hash = 0x811C9DC5;
  for (const char letter : name) hash = (hash ^ static_cast<uint8_t>(letter)) * 0x01000193;
  return hash;
}

uint32_t bits_of(const Random& random, uint64_t sample, size_t element) {
  return random.bits(sample, element / 4)[element % 4];
}

/// Uniform in middle ± width / 2.
void spread(std::span<float> values, const Random& random, uint64_t sample, float middle, float width) {
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = (to_uniform(bits_of(random, sample, i)) - 0.5F) * width + middle;
}

class Drawn final : public Dataset {
 public:
  Drawn(const Json& golden, const std::string& part)
      : seed_(golden["seed"]),
        size_(golden["data"][part == "train" ? "samples" : "test"]),
        classes_(golden["data"]["classes"]),
        kind_(golden["data"].value("targets", "class")),
        images_(seed_, Purpose::data, name_hash("x_" + part)),
        targets_(seed_, Purpose::data, name_hash("y_" + part)) {
    const auto shape = golden["data"]["shape"].get<std::vector<int64_t>>();
    shape_ = Shape(std::span(shape));
    const auto of_target = golden["data"].value("target_shape", std::vector<int64_t>{});
    target_ = Shape(std::span(of_target));
  }
  int64_t size() const override { return size_; }
  Shape image_shape() const override { return shape_; }
  int classes() const override { return kind_ == "class" || kind_ == "classes" ? classes_ : 0; }
  Type target() const override { return {target_, classes() > 0 ? DType::i32 : DType::f32}; }
  int32_t read(int64_t index, std::span<float> image) const override {
    const auto sample = static_cast<uint64_t>(index);
    spread(image, images_, sample, 0, 3.4F);
    return label(sample, 0);
  }
  void read_target(int64_t index, std::span<std::byte> target) const override {
    const auto sample = static_cast<uint64_t>(index);
    for (size_t i = 0; i < target.size() / 4; ++i) {
      const int32_t whole = label(sample, i);
      const float number = kind_ == "numbers" ? to_uniform(bits_of(targets_, sample, i)) : static_cast<float>(whole);
      if (classes() > 0)
        std::memcpy(&target[4 * i], &whole, 4);
      else
        std::memcpy(&target[4 * i], &number, 4);
    }
  }
  std::string content_sha256() const override { return "drawn"; }

 private:
  int32_t label(uint64_t sample, size_t i) const {
    const int values = kind_ == "bits" ? 2 : classes_;
    return static_cast<int32_t>(bits_of(targets_, sample, i) % static_cast<uint32_t>(values));
  }

  uint64_t seed_;
  int64_t size_;
  int classes_;
  std::string kind_;
  Random images_, targets_;
  Shape shape_, target_;
};

Weights first_weights(const Network& network, uint64_t seed) {
  Weights weights;
  for (const Variable& variable : network.variables()) {
    const std::string part = variable.name.substr(variable.name.rfind('/') + 1);
    const auto fan = static_cast<double>(variable.shape.elements() / variable.shape[0]);
    float middle = 0, width = 0.6F;
    if (part.ends_with("kernel")) width = static_cast<float>(std::sqrt(16 / fan));
    if (part == "gamma") middle = 1;
    if (part == "moving_variance") middle = width = 1;
    if (part == "alpha") middle = 0.25F, width = 0.3F;
    auto& values = weights[variable.name];
    values.resize(static_cast<size_t>(variable.shape.elements()));
    spread(values, Random(seed, Purpose::data, name_hash(variable.name)), 0, middle, width);
  }
  return weights;
}

Loss loss_of(const Json& options) {
  const auto name = options["loss"].get<std::string>();
  const Json given = options.value("loss_options", Json::object());
  const auto number = [&](const char* key, float otherwise) { return given.value(key, otherwise); };
  const bool from_logits = given.value("from_logits", false);
  const float smoothing = number("label_smoothing", options.value("label_smoothing", 0.0F));
  if (name == "sparse_categorical_crossentropy") return SparseCategoricalCrossentropy{.from_logits = from_logits};
  if (name == "huber") return Huber{.delta = number("delta", 1)};
  if (name == "binary_crossentropy")
    return BinaryCrossentropy{.label_smoothing = smoothing, .from_logits = from_logits};
  const float alpha = number("alpha", 0.25F), gamma = number("gamma", 2);
  if (name == "binary_focal_crossentropy")
    return BinaryFocalCrossentropy{.apply_class_balancing = given.value("apply_class_balancing", false),
                                   .alpha = alpha,
                                   .gamma = gamma,
                                   .label_smoothing = smoothing};
  if (name == "categorical_focal_crossentropy")
    return CategoricalFocalCrossentropy{.alpha = alpha, .gamma = gamma, .label_smoothing = smoothing};
  Loss loss = name;
  if (smoothing > 0) loss.set_label_smoothing(smoothing);
  return loss;
}

struct Task {
  CompileOptions compile;
  FitOptions fit;
};

Task task_of(const Json& options) {
  Task task{.compile = {.optimizer = Optimizer::from_name(options["optimizer"]), .loss = loss_of(options)}, .fit = {}};
  task.fit.schedule = Schedule::from_name(options.value("schedule", "constant"));
  const int64_t times = options.value("accumulate", 1);
  task.fit.run = {.batch = options["batch"].get<int64_t>() * times,
                  .lanes = static_cast<int>(options["lanes"].get<int64_t>() * times),
                  .seed = options["seed"],
                  .backend = on_cuda() ? BackendChoice::cuda : BackendChoice::cpu};
  task.fit.steps = options["steps"].get<int64_t>();
  constexpr std::array known{"batch",     "lanes",    "accumulate", "seed",         "steps",
                             "optimizer", "schedule", "loss",       "loss_options", "label_smoothing"};
  constexpr std::array scheduled{"warmup", "final_lr",  "power",      "decay_rate",      "decay_steps",
                                 "t_mul",  "pct_start", "div_factor", "final_div_factor"};
  for (const auto& [key, value] : options.items()) {
    if (std::ranges::count(known, key)) continue;
    const double number = value.is_boolean() ? (value.get<bool>() ? 1 : 0) : value.get<double>();
    if (std::ranges::count(scheduled, key))
      task.fit.schedule.set(key, number);
    else
      task.compile.optimizer.set(key, number);
  }
  return task;
}

/// Of sums with random signs of the values: the largest error over what is allowed; NaN counts as infinite.
double difference(const Json& wanted, const std::string& name, std::span<const double> values) {
  const Random signs(0, Purpose::data, name_hash("sign " + name));
  double worst = 0;
  for (size_t k = 0; k < wanted["sums"].size(); ++k) {
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i) sum += (bits_of(signs, k, i) & 1) != 0 ? -values[i] : values[i];
    const double error = std::abs(sum - wanted["sums"][k].get<double>()) / wanted["allowed"].get<double>();
    worst = error <= worst ? worst : std::isnan(error) ? INFINITY : error;
  }
  return worst;
}

/// What differs by more than is allowed, with how many times that.
using Differences = std::vector<std::string>;

Differences differences(const Json& golden, const RunOptions& placed, float epsilon = 0) {
  const Network network = network_from_json(golden["model"].dump(), "golden");
  Task task = task_of(golden["options"]);
  if (epsilon > 0) task.compile.optimizer.set("epsilon", epsilon);
  task.fit.run.ranks = placed.ranks;
  task.fit.run.strategy = placed.strategy;
  task.fit.run.threads = placed.threads;
  std::vector<double> losses;
  task.fit.callbacks.push_back(lambda_callback({.on_step_end = [&](Training&, const Report& report) {
    if (losses.size() < static_cast<size_t>(report.step + 1)) losses.push_back(report.loss);
  }}));
  Runtime runtime;
  Model model(network, runtime);
  model.compile(task.compile);
  const Weights first = first_weights(network, golden["seed"]);
  model.set_weights(first);
  model.fit(std::make_shared<Drawn>(golden, "train"), task.fit);

  const Json& expected = golden["expected"];
  Differences found;
  const auto expect = [&](const std::string& what, double error) {
    if (!(error <= 1)) found.push_back(fmt::format("{}: {:.3g} times what is allowed", what, error));
  };
  for (const auto& [name, wanted] : expected["changes"].items()) {
    std::vector<double> change;
    for (size_t i = 0; i < first.at(name).size(); ++i)
      change.push_back(double{model.weights().at(name)[i]} - double{first.at(name)[i]});
    expect(name, difference(wanted, name, change));
  }
  if (first.size() != expected["changes"].size()) found.emplace_back("another number of variables");
  if (losses.size() != expected["losses"].size()) return {"another number of steps"};
  for (size_t step = 0; step < losses.size(); ++step)
    expect(fmt::format("loss of step {}", step),
           std::abs(losses[step] - expected["losses"][step].get<double>()) / expected["losses_allowed"].get<double>());
  const std::vector<float> outputs = model.predict(std::make_shared<Drawn>(golden, "test"), task.fit.run);
  expect("outputs", difference(expected["outputs"], "outputs", std::vector<double>(outputs.begin(), outputs.end())));
  return found;
}

const Json& all_golden() {
  static const Json all = [] {
    const char* other = std::getenv("LOCKSTEP_TEST_DIFFERENTIAL");
    return Json::parse(std::ifstream(other ? other : source_file("tests/golden/differential.json")));
  }();
  return all["cases"];
}

std::string text_of(const Json& golden, const Differences& differences) {
  return fmt::format("seed {}:\n  {}", golden["seed"].get<int64_t>(), fmt::join(differences, "\n  "));
}

TEST(Differential, NetworksTrainAsInPyTorch) {
  ASSERT_GE(all_golden().size(), 10U);
  for (const Json& golden : all_golden()) {
    const Differences found = differences(golden, {.ranks = 1});
    EXPECT_TRUE(found.empty()) << text_of(golden, found);
  }
}

// Each by another strategy: sums are in another order, but what is allowed covers rounding.
TEST(Differential, SplitNetworksTrainAsInPyTorch) {
  const std::array strategies{"space_h=2", "filter=2", "space_w=2", "channel=2", "stage=2"};
  size_t computed = 0, next = 0;
  for (const Json& golden : all_golden()) {
    const RunOptions placed{.ranks = 2, .strategy = read_strategy(strategies[next++ % strategies.size()])};
    try {
      const Differences found = differences(golden, placed);
      EXPECT_TRUE(found.empty()) << strategies[(next - 1) % strategies.size()] << ", " << text_of(golden, found);
      ++computed;
    } catch (const InputError&) {  // not every network has rows, columns or channels enough
    }
  }
  EXPECT_GE(computed, all_golden().size() / 2);
}

TEST(Differential, AnotherFormulaIsFound) {
  const auto found = std::ranges::find_if(all_golden(), [](const Json& golden) {
    return golden["options"]["optimizer"] == "adam" && !golden["options"].contains("clipvalue");
  });
  ASSERT_NE(found, all_golden().end());
  EXPECT_FALSE(differences(*found, {.ranks = 1}, 1e-2F).empty()) << "another epsilon, seed " << (*found)["seed"];
  Json other = *found;
  other["options"]["lr"] = other["options"]["lr"].get<double>() * 1.001;
  EXPECT_FALSE(differences(other, {.ranks = 1}).empty()) << "another learning rate, seed " << other["seed"];
}

}  // namespace
}  // namespace lockstep::test
