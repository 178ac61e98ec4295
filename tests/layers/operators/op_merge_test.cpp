// Multiply with and without a gate, Maximum, Minimum, Subtract, Average, Reshape and Permute: exact on integers, else
// against double precision and finite differences.
#include <omp.h>

#include <limits>

#include "layers/merging/add.h"
#include "layers/merging/extremum.h"
#include "layers/merging/multiply.h"
#include "layers/network/network.h"
#include "layers/reshaping/cast.h"
#include "layers/reshaping/permute.h"
#include "layers/reshaping/reshape.h"
#include "tests/support/op_check.h"

namespace lockstep::test {
namespace {

const Shape images[]{{2, 3, 4, 8}, {3, 5, 5, 3}, {1, 1, 1, 1}, {2, 7, 9, 20}, {4, 2, 2, 130}, {2, 31, 33, 16}};

Shape gate_of(const Shape& x) { return {x[0], 1, 1, x[3]}; }

/// The index into the gate of element i of the images.
size_t gate_index(const Shape& x, size_t i) {
  const auto channels = static_cast<size_t>(x[3]), pixels = static_cast<size_t>(x[1] * x[2]);
  return i / (channels * pixels) * channels + i % channels;
}

TEST(Multiply, IsExact) {
  for (const Shape& shape : images) {
    const Buffer a = integers(shape, 1), b = integers(shape, 2), gate = integers(gate_of(shape), 3);
    std::vector<float> product, gated;
    for (size_t i = 0; i < a.as().size(); ++i) {
      product.push_back(a[i] * b[i]);
      gated.push_back(a[i] * gate[gate_index(shape, i)]);
    }
    for (const bool in_place : {false, true}) {
      EXPECT_TRUE(close(run_op(MultiplyOp(false), {a, b}, in_place)[0], product, 0));
      EXPECT_TRUE(close(run_op(MultiplyOp(true), {a, gate}, in_place)[0], gated, 0)) << shape.str();
    }
    std::vector<float> sums(gate.as().size());
    for (size_t i = 0; i < a.as().size(); ++i) sums[gate_index(shape, i)] += a[i] * b[i];
    EXPECT_TRUE(close(run_op(GateGradOp(), {a, b})[0], sums, 0)) << shape.str();
    sums[0] += 1;
    EXPECT_FALSE(close(run_op(GateGradOp(), {a, b})[0], sums, 0));
  }
}

TEST(Multiply, GradientsMatchFiniteDifferences) {
  const Shape shape{2, 5, 3, 9};
  const GradientCheck linear{.step = 0.5, .tolerance = 2e-3};
  EXPECT_TRUE(
      gradient_matches(std::make_shared<MultiplyOp>(false), {uniform(shape, 1), uniform(shape, 2)}, {0, 1}, linear));
  EXPECT_TRUE(gradient_matches(std::make_shared<MultiplyOp>(true), {uniform(shape, 1), uniform(gate_of(shape), 2)},
                               {0, 1}, linear));
}

TEST(Multiply, In16BitsRoundsOnce) {
  if (!on_cuda()) GTEST_SKIP() << "the CPU computes in f32";
  for (const Shape& shape : images)
    for (const DType dtype : {DType::f16, DType::bf16}) {
      const auto narrow = [&](const Buffer& wide) { return run_op(CastOp(dtype), {wide})[0]; };
      const auto wide = [](const Buffer& of) { return run_op(CastOp(DType::f32), {of})[0]; };
      const Buffer a = narrow(uniform(shape, 1)), b = narrow(uniform(shape, 2)),
                   gate = narrow(uniform(gate_of(shape), 3));
      EXPECT_TRUE(
          same_bits(run_op(MultiplyOp(false), {a, b})[0], narrow(run_op(MultiplyOp(false), {wide(a), wide(b)})[0])));
      EXPECT_TRUE(same_bits(run_op(MultiplyOp(true), {a, gate})[0],
                            narrow(run_op(MultiplyOp(true), {wide(a), wide(gate)})[0])));
      const Buffer sums = run_op(GateGradOp(), {wide(a), wide(b)})[0];
      // Rounded to 8 bits at least; sums of terms below 1 in other orders differ by less than that.
      EXPECT_TRUE(close(wide(run_op(GateGradOp(), {a, b})[0]), sums, 1e-4, 0x1p-8)) << shape.str();
    }
}

constexpr Extremum both[]{Extremum::maximum, Extremum::minimum};

TEST(Extremum, IsExactAndEqualInputsGiveTheFirstTheGradient) {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  for (const int64_t n : {1, 7, 8, 9, 1003}) {
    const Buffer a = integers({n}, 1), b = integers({n}, 2), dy = integers({n}, 3);
    for (const Extremum which : both) {
      const bool largest = which == Extremum::maximum;
      std::vector<float> y, da, db;
      for (size_t i = 0; i < a.as().size(); ++i) {
        const bool first = largest ? a[i] >= b[i] : a[i] <= b[i];
        y.push_back(first ? a[i] : b[i]);
        da.push_back(first ? dy[i] : 0);
        db.push_back(first ? 0 : dy[i]);
      }
      for (const bool in_place : {false, true}) {
        EXPECT_TRUE(close(run_op(ExtremumOp(which), {a, b}, in_place)[0], y, 0));
        const auto gradients = run_op(ExtremumGradOp(which), {a, b, dy}, in_place);
        EXPECT_TRUE(close(gradients[0], da, 0));
        EXPECT_TRUE(close(gradients[1], db, 0));
      }
      if (n > 9) {
        EXPECT_FALSE(close(run_op(ExtremumOp(which), {a, a})[0], y, 0));
        EXPECT_FALSE(close(run_op(ExtremumGradOp(which), {b, a, dy})[1], da, 0)) << "that equal ones matter is seen";
      }
      Buffer broken = a;
      broken[0] = broken[static_cast<size_t>(n) - 1] = nan;  // in the body and in the tail
      for (const auto& in : {std::vector<Buffer>{broken, b}, {b, broken}}) {
        const Buffer out = run_op(ExtremumOp(which), in)[0];
        for (size_t i = 0; i < a.as().size(); ++i) EXPECT_EQ(std::isnan(out[i]), std::isnan(broken[i])) << i;
      }
    }
  }
}

TEST(Extremum, GradientsMatchFiniteDifferences) {
  const Buffer a = uniform({3, 50}, 1), away = uniform({3, 50}, 2);
  Buffer b = a;
  for (size_t i = 0; i < 150; ++i) b[i] += away[i] + (away[i] < 0 ? -0.1F : 0.1F);
  for (const Extremum which : both) {
    EXPECT_TRUE(gradient_matches(std::make_shared<ExtremumOp>(which), {a, b}, {0, 1}));
    EXPECT_FALSE(gradient_matches(std::make_shared<ExtremumOp>(which), {a, a}, {0, 1})) << "where both are equal";
  }
}

TEST(Extremum, ChoosesIn16BitsAsIn32) {
  if (!on_cuda()) GTEST_SKIP() << "the CPU computes in f32";
  for (const DType dtype : {DType::f16, DType::bf16})
    for (const Extremum which : both) {
      const auto narrow = [&](const Buffer& wide) { return run_op(CastOp(dtype), {wide})[0]; };
      const auto wide = [](const Buffer& of) { return run_op(CastOp(DType::f32), {of})[0]; };
      const Buffer a = narrow(uniform({1003}, 1)), b = narrow(uniform({1003}, 2)), dy = narrow(uniform({1003}, 3));
      EXPECT_TRUE(
          same_bits(run_op(ExtremumOp(which), {a, b})[0], narrow(run_op(ExtremumOp(which), {wide(a), wide(b)})[0])));
      const auto gradients = run_op(ExtremumGradOp(which), {a, b, dy}),
                 exact = run_op(ExtremumGradOp(which), {wide(a), wide(b), wide(dy)});
      for (const size_t k : {0U, 1U}) EXPECT_TRUE(same_bits(gradients[k], narrow(exact[k])));
    }
}

TEST(Multiply, ThreadsDoNotChangeBits) {
  const Shape shape{8, 20, 21, 30};
  const Buffer a = uniform(shape, 1), b = uniform(shape, 2), gate = uniform(gate_of(shape), 3);
  std::vector<Buffer> results[2];
  const int threads = omp_get_max_threads();
  for (const int run : {0, 1}) {
    omp_set_num_threads(run == 0 ? 1 : 3);
    results[run] = {run_op(MultiplyOp(false), {a, b})[0],
                    run_op(MultiplyOp(true), {a, gate})[0],
                    run_op(GateGradOp(), {a, b})[0],
                    run_op(PermuteOp({0, 3, 1, 2}), {a})[0],
                    run_op(ExtremumOp(Extremum::minimum), {a, b})[0],
                    run_op(ExtremumGradOp(Extremum::maximum), {a, b, a})[1]};
  }
  omp_set_num_threads(threads);
  for (size_t i = 0; i < results[0].size(); ++i) EXPECT_TRUE(same_bits(results[0][i], results[1][i])) << i;
}

/// Element `at` of the permuted tensor, by its definition.
float permuted(const Buffer& x, const std::vector<int>& order, const Shape& y, int64_t at) {
  std::vector<int64_t> place(order.size());
  for (size_t d = order.size(); d-- > 0;) {
    place[static_cast<size_t>(order[d])] = at % y[static_cast<int>(d)];
    at /= y[static_cast<int>(d)];
  }
  int64_t from = 0;
  for (size_t d = 0; d < order.size(); ++d) from = from * x.shape()[static_cast<int>(d)] + place[d];
  return x[static_cast<size_t>(from)];
}

TEST(Permute, MovesEveryElement) {
  const auto check = [](const Shape& shape, const std::vector<int>& order) {
    const Buffer x = uniform(shape, 1), y = run_op(PermuteOp(order), {x})[0];
    for (size_t i = 0; i < order.size(); ++i) ASSERT_EQ(y.shape()[static_cast<int>(i)], shape[order[i]]);
    for (int64_t i = 0; i < shape.elements(); ++i)
      ASSERT_EQ(y[static_cast<size_t>(i)], permuted(x, order, y.shape(), i)) << shape.str() << " " << i;
    EXPECT_TRUE(gradient_matches(std::make_shared<PermuteOp>(order), {x}, {0}, {.step = 0.5}));
  };
  check({3, 4, 5}, {0, 2, 1});
  check({2, 3, 4, 5}, {0, 3, 1, 2});
  check({2, 3, 4, 5}, {0, 2, 3, 1});
  check({2, 3, 4, 5}, {0, 1, 2, 3});
  check({2, 3, 2, 4, 2, 3}, {0, 5, 3, 1, 4, 2});
}

TEST(Permute, PlacesDimensionsAsItMovesThem) {
  const std::vector<Rule> rules = PermuteOp({0, 3, 1, 2}).rules();
  ASSERT_EQ(rules.size(), 4U);
  EXPECT_EQ(rules[0].in[0], shard(0));
  EXPECT_EQ(rules[1].in[0], shard(3));
  EXPECT_EQ(rules[1].out[0], shard(1));
}

/// Layers and what they say of their input.
struct Layers {
  Graph graph;
  Builder builder{graph, 4, 1, true};
  int count = 0;

  Value source(Shape shape) { return graph.source(fmt::format("x{}", count++), {shape}, Role::lane_input); }
  Shape shape(const Layer& layer, const std::vector<Value>& in) {
    builder.enter(fmt::format("l{}", count++), 0);
    return graph.type(layer.build(builder, in)).shape;
  }
  std::string error(const Layer& layer, const std::vector<Value>& in) {
    return error_of([&] { shape(layer, in); });
  }
};

TEST(MergeLayers, HaveTheShapesOfKeras) {
  Layers l;
  const Value x = l.source({4, 6, 8, 3}), gate = l.source({4, 1, 1, 3}), flat = l.source({4, 144});
  EXPECT_EQ(l.shape(Multiply(), {x, gate}), (Shape{4, 6, 8, 3}));
  EXPECT_EQ(l.shape(Multiply(), {gate, x}), (Shape{4, 6, 8, 3}));
  EXPECT_EQ(l.shape(Multiply(), {x, x, x}), (Shape{4, 6, 8, 3}));
  EXPECT_EQ(l.shape(Multiply(), {gate, gate}), (Shape{4, 1, 1, 3}));
  EXPECT_EQ(l.shape(Subtract(), {x, x}), (Shape{4, 6, 8, 3}));
  EXPECT_EQ(l.shape(Average(), {x, x, x}), (Shape{4, 6, 8, 3}));
  EXPECT_EQ(l.shape(Maximum(), {x, x, x}), (Shape{4, 6, 8, 3}));
  EXPECT_EQ(l.shape(Minimum(), {gate, gate}), (Shape{4, 1, 1, 3}));
  EXPECT_EQ(l.shape(Reshape({6, 8, 3}), {flat}), (Shape{4, 6, 8, 3}));
  EXPECT_EQ(l.shape(Reshape({-1, 3}), {x}), (Shape{4, 48, 3}));
  EXPECT_EQ(l.shape(Reshape({3}), {gate}), (Shape{4, 3}));
  EXPECT_EQ(l.shape(Permute({3, 1, 2}), {x}), (Shape{4, 3, 6, 8}));
}

TEST(MergeLayers, SayWhatIsWrong) {
  Layers l;
  const Value x = l.source({4, 6, 8, 3}), other = l.source({4, 6, 8, 5}), line = l.source({4, 6, 1, 3});
  EXPECT_EQ(l.error(Multiply(), {x}), "layer 'l3': Multiply takes at least 2 inputs, 1 were given");
  EXPECT_EQ(l.error(Multiply(), {x, other}),
            "layer 'l4': the second input is f32[4, 6, 8, 5], expected f32[4, 6, 8, 3]");
  EXPECT_EQ(l.error(Multiply(), {x, line}),
            "layer 'l5': the second input is f32[4, 6, 1, 3], expected f32[4, 6, 8, 3]");
  EXPECT_EQ(l.error(Subtract(), {x, x, x}), "layer 'l6': Subtract takes 2 inputs, 3 were given");
  EXPECT_EQ(l.error(Average(), {x}), "layer 'l7': Average takes at least 2 inputs, 1 were given");
  EXPECT_EQ(l.error(Maximum(), {x}), "layer 'l8': Maximum takes at least 2 inputs, 1 were given");
  EXPECT_EQ(l.error(Minimum(), {x, line}), "layer 'l9': the second input is f32[4, 6, 1, 3], expected f32[4, 6, 8, 3]");
  EXPECT_EQ(l.error(Reshape({7, -1}), {x}),
            "target_shape [7, -1] for samples of [6, 8, 3]: the numbers of elements differ");
  EXPECT_EQ(l.error(Reshape({-1, -1}), {x}), "target_shape [-1, -1] for samples of [6, 8, 3]: expected at most one -1");
  EXPECT_EQ(l.error(Reshape({0, 144}), {x}),
            "target_shape [0, 144] for samples of [6, 8, 3]: expected dimensions above 0, or one -1");
  EXPECT_EQ(l.error(Reshape({int64_t{1} << 31, int64_t{1} << 31, 8}), {x}),
            "target_shape [2147483648, 2147483648, 8] for samples of [6, 8, 3]: that is more than 64 bits can count");
  EXPECT_EQ(l.error(Permute({1, 1, 2}), {x}), "dims [1, 1, 2] for samples of [6, 8, 3], expected each of 1 to 3 once");
}

TEST(MergeLayers, AreExactOnIntegers) {
  const auto run = [](const Layer& layer, const std::vector<Buffer>& in) {
    Layers l;
    std::vector<Value> sources;
    std::map<int, Buffer> values;
    for (const Buffer& buffer : in) {
      sources.push_back(l.source(buffer.shape()));
      values[sources.back().id] = buffer;
    }
    l.builder.enter("layer", 0);
    const Value y = layer.build(l.builder, sources);
    run_graph(l.graph, values);
    return values.at(y.id);
  };
  const Buffer a = integers({4, 9}, 1), b = integers({4, 9}, 2), c = integers({4, 9}, 3), d = integers({4, 9}, 4);
  std::vector<float> difference, mean, largest, smallest;
  for (size_t i = 0; i < a.as().size(); ++i) {
    difference.push_back(a[i] - b[i]);
    mean.push_back((a[i] + b[i] + c[i] + d[i]) / 4);
    largest.push_back(std::max({a[i], b[i], c[i], d[i]}));
    smallest.push_back(std::min({a[i], b[i], c[i]}));
  }
  EXPECT_TRUE(close(run(Subtract(), {a, b}), difference, 0));
  EXPECT_TRUE(close(run(Average(), {a, b, c, d}), mean, 0));
  EXPECT_TRUE(close(run(Maximum(), {a, b, c, d}), largest, 0));
  EXPECT_TRUE(close(run(Minimum(), {a, b, c}), smallest, 0));
  EXPECT_FALSE(close(run(Minimum(), {a, b, d}), smallest, 0));
}

TEST(MergeLayers, JsonThereAndBack) {
  const std::string model = R"({"name": "m", "layers": [
    {"type": "Input", "shape": [4, 6], "name": "x"}, {"type": "Permute", "dims": [2, 1]},
    {"type": "Reshape", "target_shape": [-1], "name": "flat"}, {"type": "Flatten", "inputs": ["x"], "name": "other"},
    {"type": "Maximum", "inputs": ["flat", "other"], "name": "most"}, {"type": "Minimum", "inputs": ["most", "flat"]}]})";
  const std::string text = network_to_json(network_from_json(model, "m.json"));
  EXPECT_EQ(network_to_json(network_from_json(text, "again")), text);
  EXPECT_EQ(network_from_json(text, "again").output_shape(), (Shape{24}));
}

TEST(Reshape, SlicesOfChannelsStaySlices) {
  EXPECT_EQ(ReshapeOp({4, 1, 1, 6}, {4, 6}).rules().size(), 2U);
  EXPECT_EQ(ReshapeOp({4, 2, 1, 6}, {4, 12}).rules().size(), 1U);
  const ReshapeOp op({4, 1, 1, 6}, {4, 6});
  const std::vector<Rule> rules = op.rules();
  Rule rule = rules[1];
  rule.in[0] = shard(3);
  rule.out[0] = shard(1);
  const auto local = op.local({rule, 1, 2, {{3, 6}}, {{3, 6}}});
  EXPECT_EQ(local.op->infer(std::vector<Type>{{Shape{4, 1, 1, 3}}})[0].shape, (Shape{4, 3}));
}

}  // namespace
}  // namespace lockstep::test
