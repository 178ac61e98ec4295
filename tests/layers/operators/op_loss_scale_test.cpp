// Dynamic loss scaling, operator by operator: what is finite, how the scale moves, and what a skipped step leaves
// alone.
#include <limits>

#include "core/step_state.h"
#include "layers/losses/cross_entropy.h"
#include "layers/optimizers/loss_scale.h"
#include "layers/optimizers/update.h"
#include "tests/support/op_check.h"

namespace lockstep::test {
namespace {

constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();

Buffer scale_buffer(const LossScale& scale) {
  return filled(loss_scale_type(), std::vector<float>{scale.scale, scale.good_steps});
}
Buffer flag(float finite) { return filled(Type{Shape{1}}, std::vector<float>{finite}); }

TEST(Finite, SeesOneElementAnywhere) {
  const std::vector<Buffer> good{uniform({5}, 1), uniform({1}, 2), uniform({10'007}, 3), uniform({16}, 4)};
  EXPECT_EQ(run_op(FiniteOp(), good)[0][0], 1);
  EXPECT_EQ(run_op(FiniteOp(), {good[1]})[0][0], 1);
  for (size_t i = 0; i < good.size(); ++i) {
    const size_t n = good[i].as().size();
    for (size_t at : {size_t{0}, n / 2, n - 1})
      for (float bad : {inf, -inf, nan}) {
        auto in = good;
        in[i][at] = bad;
        EXPECT_EQ(run_op(FiniteOp(), in)[0][0], not_finite) << "input " << i << " element " << at << " is " << bad;
      }
  }
  auto largest = good;
  largest[2][77] = std::numeric_limits<float>::max();
  EXPECT_EQ(run_op(FiniteOp(), largest)[0][0], 1);
}

LossScale after(const LossScale& before, float finite, int interval = 3, bool in_place = true) {
  const Buffer out = run_op(LossScaleOp(interval), {scale_buffer(before), flag(finite)}, in_place)[0];
  return {out[0], out[1]};
}

TEST(LossScale, GrowsAfterTheIntervalAndHalvesAtOnce) {
  for (bool in_place : {false, true}) {
    EXPECT_EQ(after({1024, 0}, 1, 3, in_place), (LossScale{1024, 1}));
    EXPECT_EQ(after({1024, 1}, 1, 3, in_place), (LossScale{1024, 2}));
    EXPECT_EQ(after({1024, 2}, 1, 3, in_place), (LossScale{2048, 0}));
    EXPECT_EQ(after({1024, 2}, 0, 3, in_place), (LossScale{512, 0}));
  }
  EXPECT_EQ(after({1024, 0}, 1, 1), (LossScale{2048, 0}));
  EXPECT_EQ(after({65536, 1998}, 1, 2000), (LossScale{65536, 1999}));
  EXPECT_EQ(after({65536, 1999}, 1, 2000), (LossScale{131072, 0}));
}

TEST(LossScale, StaysBetween1AndInfinity) {
  EXPECT_EQ(after({2, 0}, 0), (LossScale{1, 0}));
  EXPECT_EQ(after({1, 2}, 0), (LossScale{1, 0}));
  EXPECT_EQ(after({0x1p127F, 2}, 1), (LossScale{0x1p127F, 0}));
}

TEST(LossScale, TheGradientAloneIsScaled) {
  const Buffer labels = filled(Type{Shape{4}, DType::i32}, std::vector<int32_t>{0, 5, 9, 2});
  const std::vector<Buffer> in{uniform({4, 10}, 1, -5, 5), labels, state_buffer(LaneState{.first = 0, .valid = 3})};
  auto scaled = in;
  scaled.push_back(scale_buffer({1024, 7}));
  const auto plain = run_op(CrossEntropyOp(), in), loss = run_op(CrossEntropyOp(true), scaled);
  for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(same_bits(loss[i], plain[i])) << i;
  Buffer expected = run_op(CrossEntropyGradOp(), in)[0];
  for (float& x : expected.as()) x *= 1024;
  EXPECT_TRUE(same_bits(run_op(CrossEntropyGradOp(true), scaled)[0], expected));
}

TEST(LossScale, BackwardHandsTheScaleOn) {
  Graph graph;
  std::vector<Value> in{graph.source("x", {Shape{8, 10}}, Role::activation),
                        graph.source("labels", {Shape{8}, DType::i32}, Role::lane_input),
                        graph.source("lane", lane_state_type(2), Role::lane_input),
                        graph.source("scale", loss_scale_type(), Role::state)};
  graph.add("loss", std::make_shared<CrossEntropyOp>(true), in);
  const Node node = graph.nodes()[0];
  const auto gradients = node.op->backward(graph, node, {});
  ASSERT_EQ(gradients.size(), 4U);
  EXPECT_TRUE(gradients[0] && !gradients[1] && !gradients[2] && !gradients[3]);
  EXPECT_EQ(graph.nodes()[1].in, in);
}

/// Parameters, gradient sums and slots of an optimizer over n elements.
std::vector<Buffer> update_inputs(int64_t n, size_t slots) {
  std::vector<Buffer> in{uniform({n}, 1), uniform({n}, 2, -30, 30),
                         state_buffer(StepState{.step = 4, .samples = 24, .lr = 0.05F})};
  for (size_t i = 0; i < slots; ++i) in.push_back(uniform({n}, 3 + static_cast<unsigned>(i), 0.1F, 1));
  return in;
}

template <class OpClass>
void expect_scaled(const OpClass& plain, const OpClass& scaled, size_t slots) {
  const auto in = update_inputs(1003, slots);
  const auto expected = run_op(plain, in);
  auto more = in;
  for (float& sum : more[1].as()) sum *= 65536;
  more.push_back(scale_buffer({65536, 3}));
  more.push_back(flag(1));
  const auto taken = run_op(scaled, more);
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_TRUE(same_bits(taken[i], expected[i])) << i;
  EXPECT_FALSE(same_bits(taken[0], in[0]));
  more[1][17] = inf;
  more[1][1002] = nan;
  more.back() = flag(0);
  for (bool in_place : {false, true}) {
    const auto skipped = run_op(scaled, more, in_place);
    EXPECT_TRUE(same_bits(skipped[0], in[0]));
    for (size_t i = 1; i < skipped.size(); ++i) EXPECT_TRUE(same_bits(skipped[i], in[i + 2])) << i;
  }
}

TEST(LossScale, OptimizersDivideByTheScaleOrStandStill) {
  expect_scaled(UpdateOp(SGD{.weight_decay = 0.01F}), UpdateOp(SGD{.weight_decay = 0.01F}, true), 0);
  expect_scaled(UpdateOp(SGD{.momentum = 0.9F, .weight_decay = 0.01F}),
                UpdateOp(SGD{.momentum = 0.9F, .weight_decay = 0.01F}, true), 1);
  expect_scaled(UpdateOp(SGD{.momentum = 0.9F, .nesterov = true}),
                UpdateOp(SGD{.momentum = 0.9F, .nesterov = true}, true), 1);
  expect_scaled(UpdateOp(Adam{.beta_1 = 0.9F, .beta_2 = 0.999F, .epsilon = 1e-7F, .weight_decay = 0.01F}),
                UpdateOp(Adam{.beta_1 = 0.9F, .beta_2 = 0.999F, .epsilon = 1e-7F, .weight_decay = 0.01F}, true), 2);
}

TEST(LossScale, Errors) {
  const Type four{Shape{4}}, one{Shape{1}};
  EXPECT_EQ(error_of([] { LossScaleOp(0); }), "loss scale: got a growth interval of 0 steps, expected at least 1");
  EXPECT_EQ(error_of([&] {
              LossScaleOp().infer(std::vector<Type>{four, one});
            }),
            "the loss scale is f32[4], expected f32[2]");
  EXPECT_EQ(error_of([&] {
              LossScaleOp().infer(std::vector<Type>{loss_scale_type(), four});
            }),
            "the finite flag is f32[4], expected f32[1]");
  EXPECT_EQ(error_of([] { FiniteOp().infer({}); }), "got no inputs, expected at least 1");
  EXPECT_EQ(error_of([] {
              FiniteOp().infer(std::vector<Type>{{Shape{3}, DType::f16}});
            }),
            "got f16[3], expected elements of type f32");
  EXPECT_EQ(error_of([&] {
              UpdateOp(SGD{}, true).infer(std::vector<Type>{four, four, step_state_type()});
            }),
            "got 3 inputs, expected 5");
  EXPECT_EQ(error_of([&] {
              UpdateOp(Adam{.beta_1 = 0, .beta_2 = 0, .epsilon = 1}, true)
                  .infer(std::vector<Type>{four, four, step_state_type(), four, four, four, one});
            }),
            "the loss scale is f32[4], expected f32[2]");
}

}  // namespace
}  // namespace lockstep::test
