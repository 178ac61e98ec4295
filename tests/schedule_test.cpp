#include "layers/optimizers/schedule.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "launch/lockstep.h"
#include "tests/errors.h"

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
  for (const char* name : {"constant", "step", "linear", "cosine"}) EXPECT_EQ(Schedule::from_name(name).name(), name);
  EXPECT_TRUE(says(error_of([] { Schedule::from_name("cosin"); }), {"schedule 'cosin'", "'cosine'"}));
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
