// Dropout against the definition of its mask, element by element.
#include "layers/regularization/dropout.h"

#include <omp.h>

#include "core/random.h"
#include "core/step_state.h"
#include "layers/regularization/spatial_dropout.h"
#include "tests/support/op_check.h"

namespace lockstep::test {
namespace {

constexpr float rate = 0.3F;

Buffer step_state(uint64_t step, uint64_t seed = 11) { return state_buffer(StepState{.seed = seed, .step = step}); }
Buffer lane(int64_t first, int64_t valid) { return state_buffer(LaneState{.first = first, .valid = valid}); }

Buffer ones(Shape shape) { return filled(Type{shape}, std::vector<float>(static_cast<size_t>(shape.elements()), 1)); }
Buffer drop(const Buffer& x, uint64_t step, uint32_t layer, int64_t first = 0, float with_rate = rate) {
  return run_op(DropoutOp(with_rate, layer, x.shape()), {x, step_state(step), lane(first, x.shape()[0])})[0];
}

TEST(Dropout, MaskIsThePureFunctionOfItsDefinition) {
  for (Shape shape : {Shape{3, 5, 5, 7}, Shape{2, 1}, Shape{4, 64}, Shape{2, 130}}) {
    const uint64_t step = (uint64_t{3} << 32) + 1;
    const int64_t first = (int64_t{1} << 33) + 2;
    const Buffer x = uniform(shape, 1);
    const Random random(11, Purpose::dropout, 5, step);
    std::vector<float> expected;
    const auto samples = static_cast<uint64_t>(shape[0]), elements = static_cast<uint64_t>(shape.elements()) / samples;
    for (uint64_t n = 0; n < samples; ++n)
      for (uint64_t e = 0; e < elements; ++e) {
        const bool kept = to_uniform(random.bits(static_cast<uint64_t>(first) + n, e / 4)[e % 4]) >= rate;
        expected.push_back(kept ? x[n * elements + e] * (1 / (1 - rate)) : 0);
      }
    EXPECT_TRUE(same_bits(drop(x, step, 5, first), filled(Type{shape}, expected))) << shape.str();
  }
}

TEST(Dropout, KeepsItsMask) {
  // Frozen, from a second implementation of the definition: a change here changes every run that was ever recorded.
  const uint64_t step = (uint64_t{3} << 32) + 1;
  const int64_t first = (int64_t{1} << 33) + 2;
  const std::string expected =
      "1011111101110010111111111110111111110111"
      "1011110000111111111100011110110110111100";
  const Buffer mask = drop(ones({2, 40}), step, 5, first);
  std::string kept;
  for (float y : mask.as()) kept += y == 0 ? '0' : '1';
  EXPECT_EQ(kept, expected);
}

TEST(Dropout, LanesAndThreadsDoNotMatter) {
  const Buffer x = uniform({8, 40, 40, 3}, 1), whole = drop(x, 2, 1);
  std::vector<float> joined;
  for (int64_t first = 0; first < 8; first += 2) {
    const auto part = x.as().subspan(static_cast<size_t>(first) * 4800, 9600);
    const Buffer y = drop(filled(Type{Shape{2, 40, 40, 3}}, std::vector<float>(part.begin(), part.end())), 2, 1, first);
    joined.insert(joined.end(), y.as().begin(), y.as().end());
  }
  EXPECT_TRUE(same_bits(whole, filled(whole.type(), joined)));
  omp_set_num_threads(3);
  const Buffer threaded = drop(x, 2, 1);
  omp_set_num_threads(1);
  EXPECT_TRUE(same_bits(whole, threaded));
  EXPECT_TRUE(same_bits(whole, run_op(DropoutOp(rate, 1, x.shape()), {x, step_state(2), lane(0, 8)}, true)[0]));
}

/// Elements of x by interval of dimensions 1, 2 and 3 (as far as it has them).
Buffer part_of(const Buffer& x, const std::array<Interval, 3>& box) {
  Shape shape = x.shape();
  std::array<int64_t, 3> sizes{1, 1, 1};
  for (int d = 1; d < shape.rank(); ++d) {
    sizes.at(static_cast<size_t>(d - 1)) = shape[d];
    shape[d] = box.at(static_cast<size_t>(d - 1)).size();
  }
  std::vector<float> values;
  for (int64_t n = 0; n < shape[0]; ++n)
    for (int64_t h = box[0].begin; h < box[0].end; ++h)
      for (int64_t w = box[1].begin; w < box[1].end; ++w)
        for (int64_t c = box[2].begin; c < box[2].end; ++c)
          values.push_back(x[static_cast<size_t>(((n * sizes[0] + h) * sizes[1] + w) * sizes[2] + c)]);
  return filled(Type{shape}, values);
}

/// Checks each part of x, which has `members[d]` slices of dimension d + 1, by the operator that its owner has.
void check_parts(const Buffer& x, const std::array<int64_t, 3>& members) {
  const Buffer whole = drop(x, 2, 1, 6);
  const std::vector<Buffer> states{step_state(2), lane(6, x.shape()[0])};
  for (int64_t m = 0; m < members[0] * members[1] * members[2]; ++m) {
    std::shared_ptr<const Op> op = std::make_shared<DropoutOp>(rate, 1, x.shape());
    const std::vector<Rule> rules = op->rules();
    std::array<Interval, 3> box{{{0, 1}, {0, 1}, {0, 1}}};
    bool first = true;
    int64_t left = m;
    for (size_t d = 0; d < 3; ++d) {
      const int64_t member = left % members.at(d);
      left /= members.at(d);
      const int dim = static_cast<int>(d) + 1;
      if (dim >= x.shape().rank()) continue;
      box.at(d) = even_slices(x.shape()[dim], members.at(d)).at(static_cast<size_t>(member));
      if (members.at(d) == 1) continue;
      const auto rule = std::ranges::find(rules, shard(dim), [](const Rule& r) { return r.out[0]; });
      op = op->local({*rule, member, members.at(d), {box.at(d), {}, {}}, {box.at(d)}}).op;
      first = first && member == 0;
    }
    const Buffer part = part_of(x, box), expected = part_of(whole, box);
    const auto& mine = dynamic_cast<const DropoutOp&>(*op);
    for (const bool in_place : {false, true})
      EXPECT_TRUE(same_bits(run_op(mine, {part, states[0], states[1]}, in_place)[0], expected))
          << x.shape().str() << " in " << fmt::format("{}", fmt::join(members, ", ")) << ": part " << m;
    // That it begins elsewhere is seen.
    if (!first) {
      EXPECT_FALSE(same_bits(drop(part, 2, 1, 6), expected)) << x.shape().str() << " part " << m;
    }
  }
}

TEST(Dropout, APartOfASampleHasTheBitsOfTheWhole) {
  using Members = std::array<int64_t, 3>;
  for (const Shape& features : {Shape{5, 64}, Shape{5, 130}, Shape{3, 4096}, Shape{3, 999}})
    for (const int64_t members : {2, 3, 4}) check_parts(uniform(features, 1), {members, 1, 1});
  // Whole vectors and none, runs of less than a Philox block and of many.
  for (const Shape& images : {Shape{3, 9, 7, 12}, Shape{2, 8, 8, 64}, Shape{2, 6, 12, 130}, Shape{3, 10, 11, 9}})
    for (const Members& members :
         {Members{2, 1, 1}, Members{4, 1, 1}, Members{1, 2, 1}, Members{1, 3, 1}, Members{1, 1, 2}, Members{1, 1, 4},
          Members{2, 2, 1}, Members{2, 1, 2}, Members{1, 3, 2}, Members{2, 2, 3}})
      check_parts(uniform(images, 1), members);
  check_parts(uniform({4, 6, 50}, 1), {2, 1, 1});
  check_parts(uniform({4, 6, 50}, 1), {1, 3, 1});
  check_parts(uniform({4, 6, 50}, 1), {2, 3, 1});
  omp_set_num_threads(3);
  check_parts(uniform({8, 40, 40, 24}, 1), {1, 2, 2});
  omp_set_num_threads(1);
}

TEST(Dropout, EachStepLayerSeedAndSampleHasItsOwnMask) {
  const Buffer x = ones({4, 100}), mask = drop(x, 2, 1);
  EXPECT_TRUE(same_bits(mask, drop(x, 2, 1)));
  EXPECT_FALSE(same_bits(mask, drop(x, 3, 1)));
  EXPECT_FALSE(same_bits(mask, drop(x, 2, 2)));
  EXPECT_FALSE(same_bits(mask, drop(x, 2, 1, 4)));
  EXPECT_FALSE(same_bits(mask, run_op(DropoutOp(rate, 1, x.shape()), {x, step_state(2, 12), lane(0, 4)})[0]));
}

TEST(Dropout, RateAndMeanAreKept) {
  const Buffer x = ones({16, 10000});
  for (float tried : {0.0F, 0.1F, 0.5F, 0.9F}) {
    const Buffer y = drop(x, 0, 0, 0, tried);
    double dropped = 0, sum = 0;
    for (float v : y.as()) {
      dropped += v == 0;
      sum += v;
    }
    // Five standard deviations of the share; exact for rate 0.
    const double n = 160000, tolerance = 5 * std::sqrt(double{tried} * (1 - double{tried}) / n);
    EXPECT_TRUE(std::abs(dropped / n - tried) <= tolerance) << dropped / n;
    EXPECT_TRUE(std::abs(sum / n - 1) <= tolerance / (1 - tried) + 1e-6) << sum / n;
  }
}

TEST(Dropout, GradientMatchesFiniteDifferences) {
  EXPECT_TRUE(gradient_matches(std::make_shared<DropoutOp>(rate, 3, Shape{3, 20}),
                               {uniform({3, 20}, 1), step_state(4), lane(6, 3)}, {0}));
}

TEST(SpatialDropout, MaskIsThePureFunctionOfItsDefinition) {
  const uint64_t step = (uint64_t{3} << 32) + 1;
  const int64_t first = (int64_t{1} << 33) + 2;
  const Random random(11, Purpose::dropout, 5, step);
  for (Shape shape : {Shape{3, 5, 5, 7}, Shape{2, 1, 1, 1}, Shape{4, 3, 2, 64}, Shape{2, 9, 8, 130}}) {
    const Buffer x = uniform(shape, 1);
    const auto channels = static_cast<uint64_t>(shape[3]), pixels = static_cast<uint64_t>(shape[1] * shape[2]);
    std::vector<float> expected;
    size_t dropped = 0;
    for (uint64_t i = 0; i < x.as().size(); ++i) {
      const uint64_t n = i / (pixels * channels), c = i % channels;
      const bool kept = to_uniform(random.bits(static_cast<uint64_t>(first) + n, c / 4)[c % 4]) >= rate;
      expected.push_back(x[i] * (kept ? 1 / (1 - rate) : 0));
      dropped += !kept;
    }
    const std::vector<Buffer> in{x, step_state(step), lane(first, shape[0])};
    for (const bool in_place : {false, true})
      EXPECT_TRUE(same_bits(run_op(SpatialDropoutOp(rate, 5), in, in_place)[0], filled(Type{shape}, expected)));
    EXPECT_EQ(dropped > 0, shape[3] > 1) << "a mask that keeps all would show nothing";
  }
}

TEST(SpatialDropout, APartOfTheChannelsHasTheBitsOfTheWhole) {
  const Buffer x = uniform({3, 4, 5, 13}, 1), states[]{step_state(2), lane(6, 3)};
  const Buffer whole = run_op(SpatialDropoutOp(rate, 1), {x, states[0], states[1]})[0];
  const SpatialDropoutOp op(rate, 1);
  const std::vector<Rule> rules = op.rules();
  const auto rule = std::ranges::find(rules, shard(3), [](const Rule& r) { return r.out[0]; });
  ASSERT_NE(rule, rules.end());
  for (const Interval& part : even_slices(13, 3)) {
    const std::array<Interval, 3> box{{{0, 4}, {0, 5}, part}};
    const auto local = op.local({*rule, 0, 3, {part, {}, {}}, {part}});
    const auto& mine = dynamic_cast<const SpatialDropoutOp&>(*local.op);
    EXPECT_TRUE(same_bits(run_op(mine, {part_of(x, box), states[0], states[1]})[0], part_of(whole, box)));
  }
}

TEST(SpatialDropout, GradientAndErrors) {
  EXPECT_TRUE(gradient_matches(std::make_shared<SpatialDropoutOp>(rate, 3),
                               {uniform({3, 2, 2, 20}, 1), step_state(4), lane(6, 3)}, {0}));
  for (float bad : {1.0F, -0.1F, std::nanf("")}) EXPECT_THROW(SpatialDropoutOp(bad, 0), InputError);
  for (const bool training : {true, false}) {
    Graph graph;
    Builder builder(graph, 8, 4, training);
    builder.enter("drop", 3);
    const std::vector<Value> x{builder.source("x", Type{Shape{8, 5}}, Role::lane_input)},
        image{builder.source("image", Type{Shape{8, 5, 5, 3}}, Role::lane_input)};
    EXPECT_EQ(SpatialDropout2D(rate).build(builder, image) == image[0], !training);
    EXPECT_EQ(error_of([&] { SpatialDropout2D(rate).build(builder, x); }),
              "got f32[8, 5], expected images f32[N, H, W, C]");
  }
}

TEST(Dropout, LayerIsIdentityOutsideTraining) {
  for (bool training : {true, false}) {
    Graph graph;
    Builder builder(graph, 8, 4, training);
    builder.enter("drop", 3);
    const std::vector<Value> x{builder.source("x", Type{Shape{8, 5}}, Role::lane_input)};
    const Value y = Dropout(rate).build(builder, x);
    EXPECT_EQ(y == x[0], !training);
    EXPECT_EQ(graph.nodes().size(), training ? 1U : 0U);
    if (training) {
      EXPECT_EQ(dynamic_cast<const DropoutOp&>(*graph.nodes()[0].op).layer, 3U);
    }
  }
}

TEST(Dropout, Errors) {
  Graph graph;
  Builder builder(graph, 8, 4, false);
  builder.enter("drop", 3);
  const std::vector<Value> x{builder.source("x", Type{Shape{8, 5}}, Role::lane_input)};
  for (float bad : {1.0F, -0.1F, std::nanf("")}) {
    EXPECT_THROW(DropoutOp(bad, 0, {8, 5}), InputError);
    EXPECT_THROW(Dropout(bad).build(builder, x), InputError);
  }
  EXPECT_EQ(error_of([&] { Dropout(1.5F).build(builder, x); }), "got rate 1.5, expected 0 <= rate < 1");
}

}  // namespace
}  // namespace lockstep::test
