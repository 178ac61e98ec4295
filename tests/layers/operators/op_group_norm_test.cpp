// Layer norm, group norm and PReLU against double precision, PyTorch's numbers and finite differences.
#include "layers/normalization/group_norm.h"

#include <omp.h>

#include <nlohmann/json.hpp>

#include "layers/activations/prelu.h"
#include "layers/network/network.h"
#include "layers/reshaping/cast.h"
#include "tests/support/op_check.h"
#include "tests/support/source_files.h"

namespace lockstep::test {
namespace {

constexpr float epsilon = 1e-3F;
using Doubles = std::vector<double>;

struct Case {
  Shape x;
  NormOver over;
  int64_t groups = 1;

  GroupNormAttributes norm() const { return {over, groups, epsilon}; }
};

std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.x.str() << " " << c.norm().str(); }

const Case cases[]{
    {{5, 7}, NormOver::channels},         {{2, 3, 4, 8}, NormOver::channels},    {{3, 2, 5, 96}, NormOver::channels},
    {{2, 9, 300}, NormOver::channels},    {{4, 1030}, NormOver::channels},       {{2, 3, 4, 8}, NormOver::group, 2},
    {{3, 5, 7, 12}, NormOver::group, 12}, {{2, 17, 19, 20}, NormOver::group, 5}, {{3, 33, 6, 6}, NormOver::group, 1},
    {{2, 4, 4, 64}, NormOver::group, 32}, {{5, 32}, NormOver::group, 4},         {{2, 11, 10}, NormOver::group, 2}};

/// The elements of x by the mean that they are under, and the channels.
struct Places {
  explicit Places(const Case& c) : channels(static_cast<size_t>(c.x[-1])) {
    const auto n = static_cast<size_t>(c.x.elements()), per_sample = n / static_cast<size_t>(c.x[0]);
    const auto groups = static_cast<size_t>(c.groups);
    for (size_t i = 0; i < n; ++i)
      of.push_back(c.over == NormOver::channels ? i / channels
                                                : i / per_sample * groups + i % channels / (channels / groups));
    count = of.back() + 1;
  }
  std::vector<size_t> of;
  size_t count = 0, channels;
};

/// Mean and 1 / sqrt(variance + epsilon) by place.
std::pair<Doubles, Doubles> statistics(const Places& p, const Buffer& x) {
  Doubles mean(p.count), inverse(p.count), size(p.count);
  for (size_t i = 0; i < p.of.size(); ++i) {
    mean[p.of[i]] += double{x[i]};
    ++size[p.of[i]];
  }
  for (size_t k = 0; k < p.count; ++k) mean[k] /= size[k];
  for (size_t i = 0; i < p.of.size(); ++i) inverse[p.of[i]] += std::pow(double{x[i]} - mean[p.of[i]], 2);
  for (size_t k = 0; k < p.count; ++k) inverse[k] = 1 / std::sqrt(inverse[k] / size[k] + double{epsilon});
  return {mean, inverse};
}

struct Tensors {
  explicit Tensors(const Case& c)
      : x(uniform(c.x, 1, -1, 3)),
        gamma(uniform({c.x[-1]}, 2, 0.5F, 1.5F)),
        beta(uniform({c.x[-1]}, 3)),
        dy(uniform(c.x, 4)) {}
  Buffer x, gamma, beta, dy;
};

class GroupNorm : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Cases, GroupNorm, testing::ValuesIn(cases));

TEST_P(GroupNorm, MatchesTheReference) {
  const Places p(GetParam());
  const Tensors t(GetParam());
  const auto [mean, inverse] = statistics(p, t.x);
  Doubles y, dx, dgamma(p.channels), dbeta(p.channels), g(p.count), g_normal(p.count), size(p.count);
  const auto normal = [&](size_t i) { return (double{t.x[i]} - mean[p.of[i]]) * inverse[p.of[i]]; };
  for (size_t i = 0; i < p.of.size(); ++i) {
    const size_t c = i % p.channels;
    y.push_back(normal(i) * double{t.gamma[c]} + double{t.beta[c]});
    dgamma[c] += double{t.dy[i]} * normal(i);
    dbeta[c] += double{t.dy[i]};
    g[p.of[i]] += double{t.dy[i]} * double{t.gamma[c]};
    g_normal[p.of[i]] += double{t.dy[i]} * double{t.gamma[c]} * normal(i);
    ++size[p.of[i]];
  }
  for (size_t i = 0; i < p.of.size(); ++i) {
    const size_t k = p.of[i];
    dx.push_back(inverse[k] * (double{t.dy[i]} * double{t.gamma[i % p.channels]} - g[k] / size[k] -
                               normal(i) * g_normal[k] / size[k]));
  }
  const auto out = run_op(GroupNormOp(GetParam().norm()), {t.x, t.gamma, t.beta});
  EXPECT_TRUE(close(out[0], y, 1e-5));
  EXPECT_TRUE(close(out[1], mean, 1e-6, 1e-6));
  EXPECT_TRUE(close(out[2], inverse, 0, 1e-5));
  const auto back = run_op(GroupNormGradOp(GetParam().norm()), {t.x, t.dy, t.gamma, out[1], out[2]});
  // Up to 1 / sqrt(epsilon) where one value has a mean of its own.
  EXPECT_TRUE(close(back[0], dx, 1e-5 * std::ranges::max(inverse)));
  EXPECT_TRUE(close(back[1], dgamma, 1e-4, 1e-5));
  EXPECT_TRUE(close(back[2], dbeta, 1e-4, 1e-5));
  y[3] += 1e-3;
  EXPECT_FALSE(close(out[0], y, 1e-5));
}

TEST_P(GroupNorm, GradientsMatchFiniteDifferences) {
  const Tensors t(GetParam());
  EXPECT_TRUE(gradient_matches(std::make_shared<GroupNormOp>(GetParam().norm()), {t.x, t.gamma, t.beta}, {0, 1, 2},
                               {.step = 1e-2, .tolerance = 2e-2, .elements = 16}));
}

TEST_P(GroupNorm, ThreadsDoNotChangeBits) {
  const Tensors t(GetParam());
  const auto run = [&] {
    auto all = run_op(GroupNormOp(GetParam().norm()), {t.x, t.gamma, t.beta});
    for (Buffer& b : run_op(GroupNormGradOp(GetParam().norm()), {t.x, t.dy, t.gamma, all[1], all[2]})) all.push_back(b);
    return all;
  };
  const auto one = run();
  const int threads = omp_get_max_threads();
  omp_set_num_threads(3);
  const auto three = run();
  omp_set_num_threads(threads);
  for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(same_bits(one[i], three[i])) << i;
}

TEST_P(GroupNorm, In16BitsIsWhatItIsIn32Rounded) {
  if (!on_cuda()) GTEST_SKIP() << "the CPU computes in f32";
  const Tensors t(GetParam());
  for (const DType dtype : {DType::f16, DType::bf16}) {
    const auto narrow = [&](const Buffer& wide) { return run_op(CastOp(dtype), {wide})[0]; };
    const auto wide = [](const Buffer& of) { return run_op(CastOp(DType::f32), {of})[0]; };
    const Buffer x = narrow(t.x), dy = narrow(t.dy);
    const auto got = run_op(GroupNormOp(GetParam().norm()), {x, t.gamma, t.beta});
    const auto expected = run_op(GroupNormOp(GetParam().norm()), {wide(x), t.gamma, t.beta});
    EXPECT_TRUE(same_bits(got[0], narrow(expected[0])));
    const auto back = run_op(GroupNormGradOp(GetParam().norm()), {x, dy, t.gamma, got[1], got[2]});
    const auto wide_back = run_op(GroupNormGradOp(GetParam().norm()), {wide(x), wide(dy), t.gamma, got[1], got[2]});
    EXPECT_TRUE(same_bits(back[0], narrow(wide_back[0])));
    // Rows are cut otherwise, so the sums' order differs.
    EXPECT_TRUE(close(back[1], wide_back[1], 1e-4, 1e-5));
    EXPECT_TRUE(close(back[2], wide_back[2], 1e-4, 1e-5));
  }
}

Buffer wave(Shape shape, double phase, float scale = 1, float offset = 0) {
  Buffer buffer{Type{shape}};
  for (size_t i = 0; i < buffer.as().size(); ++i)
    buffer[i] = offset + scale * static_cast<float>(std::sin(0.7 * static_cast<double>(i) + phase));
  return buffer;
}

TEST(GroupNormGolden, MatchesPyTorch) {
  const auto golden = golden_json("norms.json");
  const Shape image{2, 3, 2, 6};
  const Buffer x = wave(image, 1), dy = wave(image, 4), beta = wave({6}, 3);
  const Buffer gamma = wave({6}, 2, 0.5F, 1);
  const auto check = [&](const char* kind, const char* value, const Buffer& got) {
    const auto expected = golden[kind][value].get<Doubles>();
    EXPECT_TRUE(close(got, expected, 2e-6, 1e-5)) << kind << " " << value;
    EXPECT_FALSE(
        close(got, golden[kind == std::string("layer") ? "group" : "layer"][value].get<Doubles>(), 2e-6, 1e-5) &&
        std::string(value) != "dbeta")
        << "another would pass";
  };
  for (const auto& [kind, norm] : {std::pair{"layer", GroupNormAttributes{NormOver::channels, 1, epsilon}},
                                   {"group", GroupNormAttributes{NormOver::group, 3, epsilon}}}) {
    const auto out = run_op(GroupNormOp(norm), {x, gamma, beta});
    const auto back = run_op(GroupNormGradOp(norm), {x, dy, gamma, out[1], out[2]});
    check(kind, "y", out[0]);
    check(kind, "dx", back[0]);
    check(kind, "dgamma", back[1]);
    check(kind, "dbeta", back[2]);
  }
  const Buffer alpha = gamma.reshaped({Shape{1, 1, 6}});
  const auto back = run_op(PreluGradOp(4, 2), {x, alpha, dy});
  check("prelu", "y", run_op(PreluOp(4, 2), {x, alpha})[0]);
  check("prelu", "dx", back[0]);
  check("prelu", "dgamma", back[1]);
}

TEST(Prelu, MatchesTheReferenceAndFiniteDifferences) {
  for (const auto& [shape, shared] : {std::pair{Shape{3, 5, 4, 7}, 2},
                                      {Shape{3, 5, 4, 8}, 0},
                                      {Shape{2, 5, 4, 8}, 1},
                                      {Shape{4, 3, 3, 5}, 3},
                                      {Shape{6, 40}, 0},
                                      {Shape{300, 9, 3, 24}, 2}}) {
    Shape of_alpha(shape.dims().subspan(1));
    for (int d = 0; d < shared; ++d) of_alpha[d] = 1;
    Buffer x = uniform(shape, 1);
    for (float& v : x.as()) v += v < 0 ? -0.1F : 0.1F;  // away from the kink
    const Buffer alpha = uniform(of_alpha, 2), dy = uniform(shape, 3);
    const auto width = static_cast<size_t>(of_alpha.elements());
    Doubles y, dx, dalpha(width);
    for (size_t i = 0; i < x.as().size(); ++i) {
      const double v = double{x[i]}, a = double{alpha[i % width]}, g = double{dy[i]};
      y.push_back(v < 0 ? a * v : v);
      dx.push_back(v < 0 ? a * g : g);
      dalpha[i % width] += v < 0 ? v * g : 0;
    }
    const PreluOp op(shape.rank(), shared);
    for (const bool in_place : {false, true}) EXPECT_TRUE(close(run_op(op, {x, alpha}, in_place)[0], y, 0, 1e-7));
    const auto back = run_op(PreluGradOp(shape.rank(), shared), {x, alpha, dy});
    EXPECT_TRUE(close(back[0], dx, 0, 1e-7));
    EXPECT_TRUE(close(back[1], dalpha, 1e-3, 1e-5)) << shape.str();
    if (shape.elements() < 1000) {
      EXPECT_TRUE(gradient_matches(std::make_shared<PreluOp>(op), {x, alpha}, {0, 1}));
    }
  }
}

TEST(Prelu, HasAlphasSlopeAtZeroAsInPyTorch) {
  const auto golden = golden_json("activations.json")["prelu"];
  // Repeated over 21 channels: in a vector's body and alone.
  constexpr int copies = 7;
  const auto row = [&](const char* name, size_t first) {
    std::vector<float> values;
    for (int k = 0; k < copies; ++k)
      for (size_t i = first; i < first + 3; ++i) values.push_back(golden[name][i]);
    return values;
  };
  const auto both = [&](const char* name) {
    std::vector<float> values = row(name, 0);
    const std::vector<float> second = row(name, 3);
    values.insert(values.end(), second.begin(), second.end());
    return values;
  };
  const Type type{Shape{2, 3 * copies}};
  const Buffer x = filled(type, both("x")), dy = filled(type, both("dy"));
  const Buffer alpha = filled(Type{Shape{3 * copies}}, row("alpha", 0));
  const auto back = run_op(PreluGradOp(2, 0), {x, alpha, dy});
  EXPECT_TRUE(close(run_op(PreluOp(2, 0), {x, alpha})[0], both("y"), 0));
  EXPECT_TRUE(close(back[0], both("dx"), 0));
  EXPECT_TRUE(close(back[1], row("dalpha", 0), 0));
  EXPECT_FALSE(close(back[0], both("dy"), 0));
}

TEST(Prelu, CutsAlphaWhereItIsNotShared) {
  const auto rules = PreluGradOp(4, 2).rules();
  ASSERT_EQ(rules.size(), 4U);
  EXPECT_EQ(rules[1].out[1], partial);
  EXPECT_EQ(rules[3].in[1], shard(2));
  EXPECT_EQ(rules[3].out[1], shard(2));
}

TEST(NormLayers, HaveKerasDefaultsAndSayWhatIsWrong) {
  Graph graph;
  Builder builder(graph, 4, 1, true);
  const Value x = graph.source("x", {Shape{4, 7, 8, 64}}, Role::lane_input);
  const auto build = [&](const Layer& layer, const std::string& name) {
    builder.enter(name, 0);
    return error_of([&] { layer.build(builder, std::vector<Value>{x}); });
  };
  EXPECT_EQ(build(LayerNormalization(), "a"), "");
  EXPECT_EQ(graph.nodes().back().op->attributes(), "epsilon 0.001");
  EXPECT_EQ(build(GroupNormalization(), "b"), "");
  EXPECT_EQ(graph.nodes().back().op->attributes(), "groups 32 epsilon 0.001");
  EXPECT_EQ(build(GroupNormalization(-1), "c"), "");
  EXPECT_EQ(graph.nodes().back().op->attributes(), "groups 64 epsilon 0.001");
  EXPECT_EQ(build(GroupNormalization(5), "d"), "64 channels do not divide into 5 groups");
  EXPECT_EQ(build(LayerNormalization({.epsilon = 0}), "e"), "got epsilon 0, expected a number above 0");
  LayerNormalization other;
  other.options.axis = 1;
  EXPECT_EQ(build(other, "f"), "axis is 1, expected -1 (the channels) for f32[4, 7, 8, 64]");
  EXPECT_EQ(build(PReLU({1, 2}), "g"), "");
  EXPECT_EQ(builder.variables().back().shape, (Shape{1, 1, 64}));
  EXPECT_EQ(build(PReLU({3}), "h"),
            "shared_axes [3] for f32[4, 7, 8, 64], expected the first axes after the batch, such as [1, 2]");
}

}  // namespace
}  // namespace lockstep::test
