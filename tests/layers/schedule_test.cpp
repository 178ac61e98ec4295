#include "layers/optimizers/schedule.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "launch/lockstep.h"
#include "tests/support/errors.h"
#include "tests/support/source_files.h"

namespace lockstep {
namespace {

using test::error_of;
using test::says;
using Decay = Schedule::Decay;

TEST(Schedule, HasTheValuesOfItsFormula) {
  // By hand, for a full rate of 0.8 over 8 steps.
  const struct {
    Schedule schedule;
    std::vector<float> rates;
  } cases[] = {
      {{Decay::constant}, {0.8F, 0.8F, 0.8F, 0.8F, 0.8F, 0.8F, 0.8F, 0.8F}},
      {{Decay::step}, {0.8F, 0.8F, 0.8F, 0.8F, 0.08F, 0.08F, 0.008F, 0.008F}},
      {{Decay::linear}, {0.8F, 0.7F, 0.6F, 0.5F, 0.4F, 0.3F, 0.2F, 0.1F}},
      {{Decay::linear, 4}, {0.2F, 0.4F, 0.6F, 0.8F, 0.8F, 0.6F, 0.4F, 0.2F}},
      {{Decay::cosine}, {0.8F, 0.769552F, 0.682843F, 0.553073F, 0.4F, 0.246927F, 0.117157F, 0.030448F}},
      {{Decay::constant, 2}, {0.4F, 0.8F, 0.8F, 0.8F, 0.8F, 0.8F, 0.8F, 0.8F}},
  };
  for (const auto& [schedule, rates] : cases)
    for (int64_t step = 0; step < 8; ++step)
      EXPECT_NEAR(schedule.at(0.8F, step, 8), rates[static_cast<size_t>(step)], 1e-6F)
          << schedule.name() << " " << step;
}

TEST(Schedule, IsKnownByName) {
  for (const std::string& name : Schedule::names()) EXPECT_EQ(Schedule::from_name(name).name(), name);
  EXPECT_TRUE(says(error_of([] { Schedule::from_name("cosin"); }), {"schedule 'cosin'", "'cosine'"}));
}

TEST(Schedule, HasTheRatesOfPyTorchsSchedulers) {
  const auto golden = test::golden_json("optimizers.json")["schedules"];
  const std::map<std::string, Schedule> schedules{
      {"cosine", {.decay = Decay::cosine, .final_lr = 0.01}},
      {"polynomial", {.decay = Decay::polynomial, .power = 2}},
      {"linear", {.decay = Decay::linear, .final_lr = 0.01}},
      {"exponential", {.decay = Decay::exponential, .decay_rate = 0.9, .decay_steps = 1}},
      {"cosine_restarts", {.decay = Decay::cosine_restarts, .final_lr = 0.001, .decay_steps = 3}},
      {"one_cycle", {.decay = Decay::one_cycle}}};
  ASSERT_EQ(golden.size(), schedules.size());
  for (const auto& [name, rates] : golden.items()) {
    double worst = 0, worst_of_constant = 0;
    for (size_t step = 0; step < rates.size(); ++step) {
      const auto want = rates[step].get<double>();
      const auto off = [&](const Schedule& schedule) {
        return std::abs(schedule.at(0.1F, static_cast<int64_t>(step), static_cast<int64_t>(rates.size())) - want);
      };
      worst = std::max(worst, off(schedules.at(name)));
      worst_of_constant = std::max(worst_of_constant, off({}));
    }
    EXPECT_TRUE(worst <= 1e-8) << name << " " << worst;
    EXPECT_TRUE(worst_of_constant > 1e-3) << name;  // another schedule is seen
  }
}

TEST(Schedule, OptionsAreThoseOfItsKind) {
  Schedule schedule = Schedule::from_name("polynomial");
  schedule.set("power", 2);
  schedule.set("warmup", 3);
  EXPECT_EQ(schedule.power, 2);
  EXPECT_EQ(schedule.warmup, 3);
  EXPECT_TRUE(says(error_of([&] { schedule.set("powr", 2); }), {"polynomial 'powr'", "'power'"}));
  EXPECT_TRUE(says(error_of([&] { schedule.set("pct_start", 0.3); }), {"polynomial 'pct_start'", "final_lr, power"}));
  EXPECT_EQ(error_of([&] { schedule.set("warmup", 1.5); }),
            "schedule polynomial: got warmup 1.5, expected a whole number from 0");
}

std::string trained(float lr, const Schedule& schedule, int64_t steps) {
  Runtime runtime;
  Model model(zoo_model("lenet5", {28, 28, 1}, 10), runtime);
  model.compile({.optimizer = SGD{.lr = lr}});
  const auto data = prepare_data("digits", {.resize = "28"}).data.train;
  model.fit(data, {.steps = steps, .schedule = schedule, .run = {.ranks = 1}});
  return model.weights_sha256();
}

TEST(Schedule, IsWhatTrainingUses) {
  // The first of two warm-up steps goes at half the rate, to the bit.
  EXPECT_EQ(trained(0.5F, {Decay::constant, 2}, 1), trained(0.25F, {}, 1));
  EXPECT_NE(trained(0.5F, {Decay::constant, 2}, 2), trained(0.25F, {}, 2)) << "the second goes at the full one";
}

}  // namespace
}  // namespace lockstep
