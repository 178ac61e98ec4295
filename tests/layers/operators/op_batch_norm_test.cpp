// Batch normalisation against a slow reference in double, finite differences and its own unfused form.
#include "layers/normalization/batch_norm.h"

#include <omp.h>

#include "core/step_state.h"
#include "layers/activations/relu.h"
#include "layers/merging/add.h"
#include "tests/support/op_check.h"

namespace lockstep::test {
namespace {

constexpr float epsilon = 1e-3F;

Buffer lane(int64_t valid) { return state_buffer(LaneState{.first = 0, .valid = valid}); }

struct Reference {
  std::vector<double> y, mean, inverse, dx, dgamma, dbeta, moments;
};

/// Everything by the textbook, with dy given.
Reference reference(const Buffer& x, const Buffer& gamma, const Buffer& beta, const Buffer& dy, int64_t valid) {
  const auto channels = static_cast<size_t>(x.shape()[-1]), all = x.as().size();
  const size_t used = all / static_cast<size_t>(x.shape()[0]) * static_cast<size_t>(valid);
  const double count = std::max(1.0, static_cast<double>(used) / static_cast<double>(channels));
  Reference r;
  r.y.resize(all);
  r.dx.resize(all);
  for (size_t c = 0; c < channels; ++c) {
    double mean = 0, variance = 0, g = 0, g_normal = 0;
    for (size_t i = c; i < used; i += channels) mean += x[i] / count;
    for (size_t i = c; i < used; i += channels) variance += (x[i] - mean) * (x[i] - mean) / count;
    const double inverse = 1 / std::sqrt(variance + double{epsilon});
    for (size_t i = c; i < used; i += channels) {
      g += dy[i];
      g_normal += dy[i] * (x[i] - mean) * inverse;
    }
    for (size_t i = c; i < used; i += channels) {
      r.y[i] = gamma[c] * (x[i] - mean) * inverse + beta[c];
      r.dx[i] = gamma[c] * inverse * (dy[i] - g / count - (x[i] - mean) * inverse * g_normal / count);
    }
    r.mean.push_back(mean);
    r.inverse.push_back(inverse);
    r.dgamma.push_back(g_normal);
    r.dbeta.push_back(g);
    r.moments.insert(r.moments.end(), {valid > 0 ? count : 0, mean, variance * count, 0});
  }
  return r;
}

struct Case {
  Shape shape;
  int64_t valid;
};

class BatchNormShapes : public testing::TestWithParam<Case> {
 protected:
  const Case given = GetParam();
  const Shape channels{given.shape[-1]};
  const Buffer x = uniform(given.shape, 1, -1, 3), gamma = uniform(channels, 2, 0.5F, 2), beta = uniform(channels, 3);
  const Buffer dy = uniform(given.shape, 4), residual = uniform(given.shape, 5);
};

TEST_P(BatchNormShapes, MatchesReference) {
  const auto expected = reference(x, gamma, beta, dy, given.valid);
  const auto out = run_op(BatchNormOp(epsilon, false, false), {x, gamma, beta, lane(given.valid)});
  EXPECT_TRUE(close(out[0], expected.y, 1e-5, 1e-5));
  EXPECT_TRUE(close(out[1], expected.mean, 1e-6, 1e-6));
  EXPECT_TRUE(close(out[2], expected.inverse, 0, 2e-6));
  EXPECT_TRUE(close(out[3], expected.moments, 1e-6, 2e-6));
  for (bool in_place : {false, true}) {
    const auto gradients =
        run_op(BatchNormGradOp(false, false), {x, dy, gamma, out[1], out[2], lane(given.valid)}, in_place);
    EXPECT_TRUE(close(gradients[0], expected.dx, 1e-5, 1e-5));
    EXPECT_TRUE(close(gradients[1], expected.dgamma, 1e-4, 1e-5));
    EXPECT_TRUE(close(gradients[2], expected.dbeta, 1e-4, 1e-5));
  }
}

TEST_P(BatchNormShapes, FusedIsUnfusedBitForBit) {
  const auto state = lane(given.valid);
  const auto plain = run_op(BatchNormOp(epsilon, false, false), {x, gamma, beta, state});
  for (const FusedRelu relu : {FusedRelu(false), FusedRelu(true), FusedRelu::up_to(0.5F)})
    for (bool add : {false, true}) {
      std::vector<Buffer> in{x, gamma, beta, state};
      Buffer y = plain[0];
      if (add) {
        in.push_back(residual);
        y = run_op(AddOp(), {y, residual})[0];
      }
      if (relu) y = run_op(ReluOp(), {y})[0];
      for (float& v : y.as())
        if (relu && v > relu.top) v = relu.top;
      const auto fused = run_op(BatchNormOp(epsilon, relu, add), in);
      EXPECT_TRUE(same_bits(fused[0], y));
      for (size_t i = 1; i < 4; ++i) EXPECT_TRUE(same_bits(fused[i], plain[i])) << i;

      // Padding has no gradient after it; the fused operator does not rely on that.
      Buffer g = dy;
      for (size_t i = 0; i < g.as().size(); ++i)
        if (relu && !(y[i] > 0 && y[i] < relu.top)) g[i] = 0;
      const size_t used = g.as().size() / static_cast<size_t>(given.shape[0]) * static_cast<size_t>(given.valid);
      std::fill(g.as().begin() + static_cast<ptrdiff_t>(used), g.as().end(), 0.0F);
      const auto expected = run_op(BatchNormGradOp(false, false), {x, g, gamma, plain[1], plain[2], state});
      std::vector<Buffer> grad_in{x, dy, gamma, plain[1], plain[2], state};
      if (relu) grad_in.insert(grad_in.begin() + 1, y);
      for (bool in_place : {false, true}) {
        const auto gradients = run_op(BatchNormGradOp(relu, add), grad_in, in_place);
        for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(same_bits(gradients[i], expected[i])) << i;
        if (add) {
          EXPECT_TRUE(same_bits(gradients[3], g));
        }
      }
    }
}

TEST_P(BatchNormShapes, ThreadsDoNotMatter) {
  const std::vector<Buffer> in{x, gamma, beta, lane(given.valid), residual};
  const auto run = [&](int threads) {
    omp_set_num_threads(threads);
    auto out = run_op(BatchNormOp(epsilon, true, true), in);
    const auto grad = run_op(BatchNormGradOp(true, true), {x, out[0], dy, gamma, out[1], out[2], in[3]});
    out.insert(out.end(), grad.begin(), grad.end());
    return out;
  };
  const auto one = run(1), three = run(3);
  omp_set_num_threads(1);
  for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(same_bits(one[i], three[i])) << i;
}

TEST_P(BatchNormShapes, InferenceMatchesReference) {
  const Buffer mean = uniform(channels, 6), variance = uniform(channels, 7, 0.1F, 2);
  std::vector<double> expected;
  for (size_t i = 0; i < x.as().size(); ++i) {
    const size_t c = i % gamma.as().size();
    expected.push_back(gamma[c] * (double{x[i]} - mean[c]) / std::sqrt(double{variance[c]} + double{epsilon}) +
                       beta[c]);
  }
  const auto y = run_op(BatchNormInferenceOp(epsilon, false, false), {x, gamma, beta, mean, variance}, true)[0];
  EXPECT_TRUE(close(y, expected, 1e-5, 1e-5));
  const auto sum = run_op(AddOp(), {y, residual})[0];
  const BatchNormInferenceOp fused(epsilon, true, true);
  EXPECT_TRUE(same_bits(run_op(fused, {x, gamma, beta, mean, variance, residual})[0], run_op(ReluOp(), {sum})[0]));
}

INSTANTIATE_TEST_SUITE_P(All, BatchNormShapes,
                         testing::Values(Case{{4, 3, 5, 13}, 4}, Case{{4, 3, 5, 13}, 3}, Case{{5, 16}, 5},
                                         Case{{3, 16}, 1}, Case{{2, 4, 4, 64}, 0}, Case{{3, 20, 20, 103}, 2},
                                         Case{{2, 37, 20, 8}, 2}, Case{{6, 8, 8, 600}, 6}, Case{{2, 1, 1, 1}, 2}));

TEST(BatchNorm, GradientsMatchFiniteDifferences) {
  for (bool relu : {false, true})
    for (bool add : {false, true}) {
      std::vector<Buffer> in{uniform({3, 2, 3, 5}, 1), uniform({5}, 2, 0.5F, 2), uniform({5}, 3), lane(3)};
      // Away from 0, where max(y, 0) has a kink that no difference quotient sees through.
      if (relu)
        for (size_t i = 0; i < 5; ++i) in[2][i] = i % 2 ? 6.0F : -6.0F;
      std::vector<size_t> inputs{0, 1, 2};
      if (add) {
        in.push_back(uniform({3, 2, 3, 5}, 4));
        inputs.push_back(4);
      }
      EXPECT_TRUE(gradient_matches(std::make_shared<BatchNormOp>(epsilon, relu, add), in, inputs)) << relu << add;
    }
}

TEST(BatchNorm, LargeMeanDoesNotCancel) {
  Buffer x = uniform({8, 16, 16, 24}, 1);
  for (float& v : x.as()) v += 1000;
  const Buffer one = filled(Type{Shape{24}}, std::vector<float>(24, 1)), zero(Type{Shape{24}});
  const auto out = run_op(BatchNormOp(epsilon, false, false), {x, one, zero, lane(8)});
  EXPECT_TRUE(close(out[3], reference(x, one, zero, x, 8).moments, 0, 1e-4));
}

TEST(BatchNorm, PaddingDoesNotCount) {
  const Buffer gamma = uniform({7}, 2), beta = uniform({7}, 3), dy = uniform({4, 2, 2, 7}, 4);
  Buffer x = uniform({4, 2, 2, 7}, 1), other = x;
  const size_t used = x.as().size() / 2;
  for (size_t i = used; i < x.as().size(); ++i) other[i] = std::nanf("");
  const auto run = [&](const Buffer& input, int64_t valid) {
    auto out = run_op(BatchNormOp(epsilon, false, false), {input, gamma, beta, lane(valid)});
    const auto grad = run_op(BatchNormGradOp(false, false), {input, dy, gamma, out[1], out[2], lane(valid)});
    out.insert(out.end(), grad.begin(), grad.end());
    return out;
  };
  const auto a = run(x, 2), b = run(other, 2), counted = run(x, 4);
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(same_bits(a[i], b[i])) << i;
    EXPECT_FALSE(same_bits(a[i], counted[i])) << i;
  }
  for (size_t i = used; i < x.as().size(); ++i) {
    EXPECT_EQ(b[0][i], 0);
    EXPECT_EQ(b[4][i], 0);
  }
}

TEST(BatchNorm, EmptyLaneIsFiniteAndAddsNothing) {
  const Buffer x = uniform({2, 3, 3, 9}, 1), gamma = uniform({9}, 2), beta = uniform({9}, 3);
  const auto out = run_op(BatchNormOp(epsilon, false, false), {x, gamma, beta, lane(0)});
  const auto grad = run_op(BatchNormGradOp(false, false), {x, x, gamma, out[1], out[2], lane(0)});
  const std::vector<float> zeros(9, 0), deviation(9, 1 / std::sqrt(epsilon));
  for (const Buffer* buffer : {&out[1], &grad[1], &grad[2]}) EXPECT_TRUE(close(*buffer, zeros, 0));
  EXPECT_TRUE(close(out[3], std::vector<float>(36, 0), 0));
  EXPECT_TRUE(close(out[2], deviation, 0, 1e-6));
  EXPECT_TRUE(close(out[0], std::vector<float>(x.as().size(), 0), 0));
  EXPECT_TRUE(close(grad[0], std::vector<float>(x.as().size(), 0), 0));
}

TEST(BatchNorm, NanIsNotHidden) {
  Buffer x = uniform({4, 3}, 1);
  x[4] = std::nanf("");  // channel 1
  const Buffer one = filled<float>(Type{Shape{3}}, {1, 1, 1}), zero(Type{Shape{3}});
  const auto out = run_op(BatchNormOp(epsilon, true, false), {x, one, zero, lane(4)});
  for (size_t i = 0; i < 12; ++i) EXPECT_EQ(std::isnan(out[0][i]), i % 3 == 1) << i;
  EXPECT_TRUE(std::isnan(out[3][4 + 1]) && std::isnan(out[3][4 + 2]));
}

TEST(BatchNorm, Errors) {
  const auto infer = [](Type x, Type gamma, Type state) {
    return error_of([&] { BatchNormOp(epsilon, false, false).infer(std::vector<Type>{x, gamma, gamma, state}); });
  };
  const Type state = lane_state_type(2);
  EXPECT_EQ(infer({Shape{4, 3}}, {Shape{3}}, state), "");
  EXPECT_EQ(infer({Shape{4, 2, 3}}, {Shape{3}}, state), "got f32[4, 2, 3], expected f32[N, C] or f32[N, H, W, C]");
  EXPECT_EQ(infer({Shape{4, 3}}, {Shape{2}}, state), "gamma is f32[2], expected f32[3]");
  EXPECT_EQ(infer({Shape{5, 3}}, {Shape{3}}, state),
            "got f32[5, 3] and 2 lanes, expected a batch that the lanes divide");
  EXPECT_EQ(error_of([] { BatchNormOp(0, false, false); }), "got epsilon 0, expected a number above 0");
  EXPECT_EQ(error_of([] { BatchNormOp(std::nanf(""), false, false); }), "got epsilon nan, expected a number above 0");
}

TEST(BatchNorm, RulesCoverInputsAndOutputs) {
  for (bool relu : {false, true})
    for (bool add : {false, true}) {
      const auto forward = BatchNormOp(epsilon, relu, add).rules().at(0);
      EXPECT_EQ(forward.in.size(), add ? 5U : 4U);
      EXPECT_EQ(forward.out, (std::vector<Placement>{shard(0), shard(0), shard(0), partial}));
      const auto backward = BatchNormGradOp(relu, add).rules().at(0);
      EXPECT_EQ(backward.in.size(), relu ? 7U : 6U);
      EXPECT_EQ(backward.in[relu ? 3 : 2], replicate);
      EXPECT_EQ(backward.out.size(), add ? 4U : 3U);
      EXPECT_EQ(backward.out[1], partial);
    }
}

TEST(BatchNorm, LayerKeepsStatistics) {
  for (bool training : {true, false}) {
    Graph graph;
    Builder builder(graph, 8, 4, training);
    builder.enter("norm", 3);
    const Value x = builder.source("x", Type{Shape{8, 2, 2, 5}}, Role::lane_input);
    const Value y = BatchNormalization({.momentum = 0.9F}).build(builder, std::vector<Value>{x});
    EXPECT_EQ(graph.nodes().at(0).name, "norm");
    EXPECT_EQ(graph.nodes().at(0).op->name(), training ? "batch_norm" : "batch_norm_inference");
    EXPECT_EQ(graph.type(y), graph.type(x));
    ASSERT_EQ(builder.variables().size(), 4U);
    EXPECT_EQ(builder.variables()[3].name, "norm/moving_variance");
    EXPECT_EQ(builder.variables()[0].initializer.constant, 1);
    ASSERT_EQ(builder.tracked().size(), training ? 1U : 0U);
    if (training) {
      EXPECT_EQ(graph.info(builder.tracked()[0].variance).name, "norm/moving_variance");
    }
  }
  Graph graph;
  Builder builder(graph, 8, 4, true);
  builder.enter("norm", 3);
  const std::vector<Value> x{builder.source("x", Type{Shape{8, 5}}, Role::lane_input)};
  EXPECT_EQ(error_of([&] { BatchNormalization({.momentum = 2}).build(builder, x); }),
            "got momentum 2, expected 0 to 1");
}

}  // namespace
}  // namespace lockstep::test
