// Cross-entropy against a reference in double precision, with padding samples, ties and NaN.
#include <limits>

#include "core/step_state.h"
#include "layers/activations/softmax.h"
#include "layers/losses/cross_entropy.h"
#include "tests/support/op_check.h"

namespace lockstep {
namespace {

using namespace test;

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

Buffer labels_of(const std::vector<int32_t>& labels) {
  return filled(Type{Shape{static_cast<int64_t>(labels.size())}, DType::i32}, labels);
}
Buffer labels_for(int64_t samples, int64_t classes) {
  std::vector<int32_t> labels;
  for (int64_t n = 0; n < samples; ++n) labels.push_back(static_cast<int32_t>((n * 7 + 3) % classes));
  return labels_of(labels);
}
Buffer lane(int64_t valid) { return state_buffer(LaneState{.first = 0, .valid = valid}); }

struct Reference {
  double loss = 0;
  float correct = 0;
  std::vector<double> dx;

  Reference(const Buffer& x, const Buffer& labels, int64_t valid) : dx(x.as().size()) {
    const auto classes = static_cast<size_t>(x.shape()[1]);
    for (size_t n = 0; n < static_cast<size_t>(valid); ++n) {
      const auto row = x.as().subspan(n * classes, classes);
      const auto label = static_cast<size_t>(labels.as<int32_t>()[n]);
      double sum = 0;
      for (float v : row) sum += std::exp(double{v});
      loss -= row[label] - std::log(sum);
      correct += std::ranges::max_element(row) - row.begin() == static_cast<ptrdiff_t>(label) ? 1.0F : 0.0F;
      for (size_t k = 0; k < classes; ++k) dx[n * classes + k] = std::exp(double{row[k]}) / sum - (k == label);
    }
  }
};

Buffer input(int64_t samples, int64_t classes) { return uniform({samples, classes}, 1, -5, 5); }

TEST(CrossEntropy, EqualsReference) {
  for (int64_t classes : {1, 2, 10, 1000})
    for (int64_t valid : {6, 4, 1, 0}) {
      SCOPED_TRACE(testing::Message() << classes << " classes, " << valid << " valid");
      Buffer x = input(6, classes), labels = labels_for(6, classes);
      const Reference expected(x, labels, valid);
      // Padding may hold anything.
      for (size_t n = static_cast<size_t>(valid); n < 6; ++n) {
        for (size_t k = 0; k < static_cast<size_t>(classes); ++k) x[n * static_cast<size_t>(classes) + k] = nan;
        labels.as<int32_t>()[n] = -1;
      }
      const std::vector<Buffer> in{x, labels, lane(valid)};
      const auto out = run_op(CrossEntropyOp(), in);
      EXPECT_TRUE(close(out[0], std::vector<double>{expected.loss}, 1e-6, 3e-7));
      EXPECT_TRUE(close(out[1], std::vector<float>{expected.correct}, 0));
      const Buffer dx = run_op(CrossEntropyGradOp(), in)[0];
      EXPECT_TRUE(close(dx, expected.dx, 3e-7, 3e-7));
      for (size_t i = static_cast<size_t>(valid * classes); i < dx.as().size(); ++i) ASSERT_EQ(dx[i], 0);
    }
}

TEST(CrossEntropy, GradientMatchesFiniteDifferences) {
  for (int64_t valid : {5, 3})
    EXPECT_TRUE(gradient_matches(std::make_shared<CrossEntropyOp>(), {input(5, 7), labels_for(5, 7), lane(valid)}, {0},
                                 {.step = 1e-3, .loss = true}));
}

TEST(CrossEntropy, BackwardNeedsNoDy) {
  Graph graph;
  const Value x = graph.source("x", {Shape{8, 10}}, Role::activation);
  const Value labels = graph.source("labels", {Shape{8}, DType::i32}, Role::lane_input);
  const Value state = graph.source("lane", lane_state_type(2), Role::lane_input);
  graph.add("loss", std::make_shared<CrossEntropyOp>(), {x, labels, state});
  const Node node = graph.nodes()[0];
  const auto gradients = node.op->backward(graph, node, {});
  ASSERT_EQ(gradients.size(), 3U);
  EXPECT_EQ(graph.type(gradients[0]), graph.type(x));
  EXPECT_FALSE(gradients[1] || gradients[2]);
  EXPECT_EQ(graph.nodes()[1].name, "loss/grad");
}

TEST(CrossEntropy, TheFirstMaximumIsThePrediction) {
  const Buffer x = filled(Type{Shape{3, 3}}, std::vector<float>{.25F, .5F, .5F, .25F, .5F, .5F, .5F, .5F, .5F});
  EXPECT_EQ(run_op(CrossEntropyOp(), {x, labels_of({1, 2, 0}), lane(3)})[1][0], 2);
}

TEST(CrossEntropy, NanIsNeitherALossNorAPrediction) {
  for (size_t at : {0, 3, 9}) {
    Buffer x = input(1, 10);
    x[at] = nan;
    const std::vector<Buffer> in{x, labels_of({static_cast<int32_t>(at)}), lane(1)};
    const auto out = run_op(CrossEntropyOp(), in);
    EXPECT_TRUE(std::isnan(out[0][0])) << at;
    EXPECT_EQ(out[1][0], 0) << at;
    EXPECT_TRUE(std::isnan(run_op(CrossEntropyGradOp(), in)[0][at])) << at;
  }
}

TEST(CrossEntropy, RefusesLabelsOutsideTheClasses) {
  for (int32_t label : {-1, 10}) {
    const std::vector<Buffer> in{input(2, 10), labels_of({4, label}), lane(2)};
    const auto refused = fmt::format("the label of sample 1 of the lane is {}, expected 0 to 9", label);
    if (on_cuda()) {  // where a kernel cannot throw: a loss that ends the run
      EXPECT_TRUE(std::isnan(run_op(CrossEntropyOp(), in)[0][0]));
      EXPECT_TRUE(std::isnan(run_op(CrossEntropyGradOp(), in)[0][10]));
      continue;
    }
    EXPECT_EQ(error_of<Error>([&] { run_op(CrossEntropyOp(), in); }), refused);
    EXPECT_EQ(error_of<Error>([&] { run_op(CrossEntropyGradOp(), in); }), refused);
  }
}

TEST(CrossEntropy, LargeLogitsStayFinite) {
  const Buffer x = filled(Type{Shape{2, 3}}, std::vector<float>{1e4F, 0, -1e4F, 1e4F, 0, -1e4F});
  const std::vector<Buffer> in{x, labels_of({0, 1}), lane(2)};
  EXPECT_TRUE(close(run_op(CrossEntropyOp(), in)[0], std::vector<float>{1e4F}, 0));
  EXPECT_TRUE(close(run_op(CrossEntropyGradOp(), in)[0], std::vector<float>{0, 0, 0, 1, -1, 0}, 0));
}

TEST(CrossEntropy, EqualsSoftmaxAndItsGradient) {
  const Buffer logits = uniform({6, 10}, 2, -4, 4), labels = labels_for(6, 10);
  const Buffer p = run_op(SoftmaxOp(), {logits})[0];
  double loss = 0;
  Buffer dp = uniform({6, 10}, 2, 0, 0);
  for (size_t n = 0; n < 6; ++n) {
    const size_t at = n * 10 + static_cast<size_t>(labels.as<int32_t>()[n]);
    loss -= std::log(double{p[at]});
    dp[at] = -1 / p[at];
  }
  EXPECT_TRUE(close(run_op(CrossEntropyOp(), {logits, labels, lane(6)})[0], std::vector<double>{loss}, 0, 1e-6));
  EXPECT_TRUE(
      close(run_op(SoftmaxGradOp(), {p, dp})[0], run_op(CrossEntropyGradOp(), {logits, labels, lane(6)})[0], 5e-7));
}

TEST(CrossEntropy, SaysWhatItExpects) {
  const Type x{Shape{8, 10}}, labels{Shape{8}, DType::i32}, state = lane_state_type(1);
  const auto refusal = [](std::vector<Type> in) {
    return error_of([&] { static_cast<void>(CrossEntropyOp().infer(in)); });
  };
  EXPECT_EQ(refusal({x, labels, state}), "");
  EXPECT_EQ(refusal({x, labels}), "got 2 inputs, expected 3");
  EXPECT_EQ(refusal({{Shape{8}}, labels, state}), "got f32[8], expected a row of classes a sample: f32[N, K]");
  EXPECT_EQ(refusal({{Shape{8, 2, 5}}, labels, state}), "the target tensor is i32[8], expected i32[8, 2]");
  EXPECT_EQ(refusal({x, {Shape{7}, DType::i32}, state}), "the target tensor is i32[7], expected i32[8]");
  EXPECT_EQ(refusal({x, labels, {Shape{1, 8}, DType::u8}}), "the lane state is u8[1, 8], expected u8[1, 16]");
}

}  // namespace
}  // namespace lockstep
