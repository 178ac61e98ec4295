// Batch normalisation of images in parts, beside the operator that sees whole images.
#include "layers/normalization/batch_norm_parts.h"

#include <omp.h>

#include <functional>

#include "core/step_state.h"
#include "layers/normalization/batch_norm.h"
#include "layers/passes/split_norms.h"
#include "tests/support/op_check.h"

namespace lockstep::test {
namespace {

constexpr float epsilon = 1e-3F;

Buffer lane(int64_t valid) { return state_buffer(LaneState{.first = 0, .valid = valid}); }

/// body(first element in the whole, first element in the part) for each row of pixels that a part has.
void each_row(const Shape& whole, Interval rows, Interval columns, const std::function<void(size_t, size_t)>& body) {
  const auto channels = static_cast<size_t>(whole[3]);
  size_t there = 0;
  for (int64_t n = 0; n < whole[0]; ++n)
    for (int64_t h = rows.begin; h < rows.end; ++h, there += static_cast<size_t>(columns.size()) * channels)
      body(static_cast<size_t>((n * whole[1] + h) * whole[2] + columns.begin) * channels, there);
}

Buffer part_of(const Buffer& whole, Interval rows, Interval columns) {
  const Shape& shape = whole.shape();
  Buffer part(Type{Shape{shape[0], rows.size(), columns.size(), shape[3]}});
  each_row(shape, rows, columns, [&](size_t from, size_t to) {
    std::copy_n(whole.as().begin() + static_cast<ptrdiff_t>(from), columns.size() * shape[3],
                part.as().begin() + static_cast<ptrdiff_t>(to));
  });
  return part;
}

void put(Buffer& whole, const Buffer& part, Interval rows, Interval columns) {
  each_row(whole.shape(), rows, columns, [&](size_t to, size_t from) {
    std::copy_n(part.as().begin() + static_cast<ptrdiff_t>(from), columns.size() * whole.shape()[3],
                whole.as().begin() + static_cast<ptrdiff_t>(to));
  });
}

struct Case {
  Shape shape;
  int64_t valid;
  ImageParts parts;
};

struct Inputs {
  explicit Inputs(const Shape& shape)
      : x(uniform(shape, 1, -1, 3)),
        gamma(uniform({shape[3]}, 2, 0.5F, 2)),
        beta(uniform({shape[3]}, 3)),
        dy(uniform(shape, 4)),
        residual(uniform(shape, 5)) {}
  Buffer x, gamma, beta, dy, residual;
};

struct TogetherOptions {
  FusedRelu relu = false;
  bool add = false;
  const Buffer* y = nullptr;  // decides what relu lets through backward; their own where there is none
  bool lonely = false;        // they take the first member's moments for everybody's
  bool in_place = false;      // dx lies where x does
};

/// What the members of a mesh make together: `out` and `gradients` as BatchNormOp's and BatchNormGradOp's.
struct Together {
  Together(const Inputs& in, int64_t valid, ImageParts parts, const TogetherOptions& options) {
    const FusedRelu relu = options.relu;
    const bool add = options.add;
    const Shape& shape = in.x.shape();
    const auto channels = static_cast<size_t>(shape[3]), count = static_cast<size_t>(parts.rows * parts.columns);
    const Slices rows = even_slices(shape[1], parts.rows), columns = even_slices(shape[2], parts.columns);
    const auto each = [&](auto body) {
      for (size_t i = 0; i < count; ++i)
        body(i, rows[i / static_cast<size_t>(parts.columns)], columns[i % static_cast<size_t>(parts.columns)]);
    };
    const Buffer state = lane(valid);
    Buffer moments(Type{Shape{2, parts.rows, parts.columns, shape[3]}});
    each([&](size_t i, Interval r, Interval c) {
      const Buffer mine = run_op(BatchNormMomentsOp({}), {part_of(in.x, r, c), state})[0];
      for (size_t k = 0; k < 2 * channels; ++k) moments[(k / channels * count + i) * channels + k % channels] = mine[k];
    });
    if (options.lonely)
      for (size_t k = 0; k < moments.as().size(); ++k)
        moments[k] = moments[k / (count * channels) * count * channels + k % channels];

    const BatchNormApplyOp apply(epsilon, relu, add, shape[1], shape[2]);
    out.emplace_back(Type{shape}, 0xFF);
    each([&](size_t i, Interval r, Interval c) {
      std::vector<Buffer> given{part_of(in.x, r, c), in.gamma, in.beta, state, moments};
      if (add) given.push_back(part_of(in.residual, r, c));
      const auto made = run_op(apply, given);
      put(out[0], made[0], r, c);
      for (size_t k = 1; k < 4; ++k) {
        if (i == 0) out.push_back(made[k]);
        EXPECT_TRUE(same_bits(out[k], made[k])) << "members have different " << k;
      }
    });

    const Buffer& y = options.y ? *options.y : out[0];
    const auto with_y = [&](Interval r, Interval c) {
      std::vector<Buffer> given{part_of(in.x, r, c)};
      if (relu) given.push_back(part_of(y, r, c));
      given.push_back(part_of(in.dy, r, c));
      return given;
    };
    Buffer sums(Type{Shape{2, 1, 1, shape[3]}});
    each([&](size_t, Interval r, Interval c) {
      auto given = with_y(r, c);
      given.insert(given.end(), {out[1], state});
      const Buffer term = run_op(BatchNormGradSumsOp(relu), given)[0];
      for (size_t k = 0; k < 2 * channels; ++k) sums[k] += term[k];
    });
    const BatchNormGradApplyOp grad_apply(relu, add, shape[1] * shape[2]);
    for (size_t k = 0; k < (add ? 4U : 3U); ++k)
      gradients.emplace_back(k == 1 || k == 2 ? in.gamma.type() : Type{shape}, 0xFF);
    each([&](size_t i, Interval r, Interval c) {
      auto given = with_y(r, c);
      given.insert(given.end(), {in.gamma, out[1], out[2], state, sums});
      const auto made = run_op(grad_apply, given, options.in_place);
      put(gradients[0], made[0], r, c);
      if (add) put(gradients[3], made[3], r, c);
      for (size_t k = 1; k < 3; ++k) {
        if (i == 0) gradients[k] = made[k];
        EXPECT_TRUE(same_bits(gradients[k], made[k])) << "members have different gradients " << k;
      }
    });
  }

  std::vector<Buffer> out, gradients;
};

class BatchNormParts : public testing::TestWithParam<Case> {};

TEST_P(BatchNormParts, MakeWhatTheWholeMakes) {
  const auto& [shape, valid, parts] = GetParam();
  const Inputs in(shape);
  for (const FusedRelu relu : {FusedRelu(false), FusedRelu(true), FusedRelu::up_to(0.5F)})
    for (bool add : {false, true}) {
      SCOPED_TRACE(fmt::format("relu {} add {}", relu.str(), add));
      std::vector<Buffer> given{in.x, in.gamma, in.beta, lane(valid)};
      if (add) given.push_back(in.residual);
      const auto out = run_op(BatchNormOp(epsilon, relu, add), given);
      std::vector<Buffer> grad_given{in.x, in.dy, in.gamma, out[1], out[2], given[3]};
      if (relu) grad_given.insert(grad_given.begin() + 1, out[0]);
      const auto gradients = run_op(BatchNormGradOp(relu, add), grad_given);
      for (bool in_place : {false, true}) {
        const Together together(in, valid, parts, {.relu = relu, .add = add, .y = &out[0], .in_place = in_place});
        // Some roundings of values near 1, which what is summed over a lane carries on.
        EXPECT_TRUE(close(together.out[0], out[0], 2e-6, 2e-6));
        for (size_t k = 1; k < 4; ++k) EXPECT_TRUE(close(together.out[k], out[k], 1e-6, 1e-6)) << k;
        EXPECT_TRUE(close(together.gradients[0], gradients[0], 2e-6, 2e-6));
        for (size_t k = 1; k < 3; ++k) EXPECT_TRUE(close(together.gradients[k], gradients[k], 2e-5, 2e-6)) << k;
        if (add) {
          EXPECT_TRUE(same_bits(together.gradients[3], gradients[3]));
        }
      }
    }
}

TEST_P(BatchNormParts, ThreadsDoNotMatter) {
  const auto& [shape, valid, parts] = GetParam();
  const Inputs in(shape);
  omp_set_num_threads(3);
  const Together three(in, valid, parts, {.relu = true, .add = true});
  omp_set_num_threads(1);
  const Together one(in, valid, parts, {.relu = true, .add = true});
  for (size_t k = 0; k < one.out.size(); ++k) EXPECT_TRUE(same_bits(one.out[k], three.out[k])) << k;
  for (size_t k = 0; k < one.gradients.size(); ++k) EXPECT_TRUE(same_bits(one.gradients[k], three.gradients[k])) << k;
}

INSTANTIATE_TEST_SUITE_P(All, BatchNormParts,
                         testing::Values(Case{{4, 3, 5, 13}, 4, {}}, Case{{4, 3, 5, 13}, 3, {2, 1}},
                                         Case{{4, 3, 5, 13}, 2, {3, 2}}, Case{{2, 4, 4, 64}, 0, {2, 2}},
                                         Case{{3, 20, 20, 103}, 2, {1, 3}}, Case{{2, 37, 20, 8}, 2, {5, 1}},
                                         Case{{6, 8, 8, 600}, 6, {4, 2}}, Case{{2, 2, 1, 1}, 2, {2, 1}}));

TEST(BatchNormParts, MomentsThatAreNotSharedAreSeen) {
  const Inputs in({4, 6, 6, 8});
  const auto out = run_op(BatchNormOp(epsilon, false, false), {in.x, in.gamma, in.beta, lane(4)});
  const Together together(in, 4, {2, 1}, {.lonely = true});
  for (size_t k = 0; k < 4; ++k) EXPECT_FALSE(close(together.out[k], out[k], 1e-3, 1e-3)) << k;
}

TEST(BatchNormParts, LargeMeanDoesNotCancel) {
  Inputs in({8, 16, 16, 24});
  for (float& v : in.x.as()) v += 1000;
  const Together together(in, 8, {3, 2}, {});
  const auto out = run_op(BatchNormOp(epsilon, false, false), {in.x, in.gamma, in.beta, lane(8)});
  EXPECT_TRUE(close(together.out[1], out[1], 0, 1e-6));
  EXPECT_TRUE(close(together.out[3], out[3], 0, 1e-5));
}

TEST(BatchNormParts, PaddingDoesNotCount) {
  Inputs in({4, 4, 2, 7});
  const Together a(in, 2, {2, 1}, {});
  const size_t used = in.x.as().size() / 2;
  for (size_t i = used; i < in.x.as().size(); ++i) in.x[i] = std::nanf("");
  const Together b(in, 2, {2, 1}, {}), counted(Inputs({4, 4, 2, 7}), 4, {2, 1}, {});
  for (size_t k = 0; k < a.out.size(); ++k) {
    EXPECT_TRUE(same_bits(a.out[k], b.out[k])) << k;
    EXPECT_FALSE(same_bits(a.out[k], counted.out[k])) << k;
  }
  for (size_t k = 0; k < a.gradients.size(); ++k) EXPECT_TRUE(same_bits(a.gradients[k], b.gradients[k])) << k;
  for (size_t i = used; i < in.x.as().size(); ++i) {
    EXPECT_EQ(b.out[0][i], 0);
    EXPECT_EQ(b.gradients[0][i], 0);
  }
}

TEST(BatchNormParts, NanIsNotHidden) {
  Inputs in({2, 2, 2, 3});
  in.x[1] = std::nanf("");  // channel 1 of the first part
  const Together together(in, 2, {2, 2}, {.relu = true});
  for (size_t i = 0; i < 24; ++i) EXPECT_EQ(std::isnan(together.out[0][i]), i % 3 == 1) << i;
}

TEST(BatchNormParts, Errors) {
  const Type x{Shape{4, 6, 5, 3}}, channels{Shape{3}}, per_lane{Shape{2, 3}}, state = lane_state_type(2);
  const auto refusal = [](const Op& op, const std::vector<Type>& in) {
    return error_of([&] { static_cast<void>(op.infer(in)); });
  };
  const BatchNormMomentsOp moments({2, 1});
  EXPECT_EQ(moments.infer(std::vector<Type>{x, state}), (std::vector<Type>{{Shape{4, 2, 1, 3}}}));
  EXPECT_TRUE(says(refusal(moments, {Type{Shape{4, 3}}, state}), {"f32[4, 3]"}));
  EXPECT_TRUE(says(error_of<Error>([&] { moments.expect_one_part(); }), {"one part", "2x1 parts"}));
  const BatchNormApplyOp apply(epsilon, false, false, 6, 5);
  EXPECT_EQ(refusal(apply, {x, channels, channels, state, {Shape{4, 2, 1, 3}}}), "");
  EXPECT_TRUE(says(refusal(apply, {x, channels, channels, state, {Shape{2, 2, 1, 3}}}), {"f32[2, 2, 1, 3]"}));
  const BatchNormGradApplyOp grad(false, false, 30);
  EXPECT_EQ(refusal(grad, {x, x, channels, per_lane, per_lane, state, {Shape{4, 1, 1, 3}}}), "");
  EXPECT_TRUE(says(refusal(grad, {x, x, channels, per_lane, per_lane, state, {Shape{4, 2, 1, 3}}}), {"the sums"}));
}

TEST(BatchNormParts, RulesCoverInputsAndOutputs) {
  const auto check = [](const Op& op, size_t in, size_t out) {
    const auto rules = op.rules();
    ASSERT_EQ(rules.size(), 4U);
    for (const Rule& rule : rules) {
      EXPECT_EQ(rule.in.size(), in) << op.name();
      EXPECT_EQ(rule.out.size(), out) << op.name();
    }
    EXPECT_EQ(rules[1].cut, Cut::height);
    EXPECT_EQ(rules[1].in[0], shard(1));
  };
  check(BatchNormMomentsOp({2, 2}), 2, 1);
  for (bool relu : {false, true}) {
    check(BatchNormGradSumsOp(relu), relu ? 5 : 4, 1);
    EXPECT_EQ(BatchNormGradSumsOp(relu).rules()[1].out[0], partial);
    for (bool add : {false, true}) {
      check(BatchNormApplyOp(epsilon, relu, add, 4, 4), add ? 6 : 5, 4);
      check(BatchNormGradApplyOp(relu, add, 16), relu ? 8 : 7, add ? 4 : 3);
    }
  }
}

/// Norms "a" and "b" of an image, and "flat" of a matrix.
Graph three_norms(std::vector<Value>& sums) {
  Graph graph;
  const Value image = graph.source("image", Type{Shape{4, 6, 5, 3}}, Role::lane_input);
  const Value flat = graph.source("matrix", Type{Shape{4, 3}}, Role::lane_input);
  const Value gamma = graph.source("gamma", Type{Shape{3}}, Role::parameter);
  const Value state = graph.source("lane_state", lane_state_type(2), Role::lane_input);
  const auto norm = [&](const char* name, Value x, bool add) {
    std::vector<Value> in{x, gamma, gamma, state};
    if (add) in.push_back(x);
    const auto out = graph.add(name, std::make_shared<BatchNormOp>(epsilon, true, add), in);
    sums.push_back(out[3]);
    graph.set_role(out[3], Role::sum);
    return out[0];
  };
  norm("b", norm("a", image, true), false);
  norm("flat", flat, false);
  return graph;
}

std::vector<std::string> operators(const Graph& graph) {
  std::vector<std::string> names;
  for (const Node& node : graph.nodes()) names.push_back(fmt::format("{}: {}", node.name, node.op->name()));
  return names;
}

TEST(SplitNorms, SplitsWhereImagesAreCutAndKeepsValues) {
  std::vector<Value> sums;
  Graph graph = three_norms(sums);
  const Graph before = graph;
  split_norms(graph, [](const std::string& name) { return name == "b" ? ImageParts{} : ImageParts{2, 3}; });
  EXPECT_EQ(operators(graph), (std::vector<std::string>{"a/moments: batch_norm_moments", "a: batch_norm_apply",
                                                        "b: batch_norm", "flat: batch_norm"}));
  for (size_t v = 0; v < before.values().size(); ++v) {
    EXPECT_EQ(graph.values()[v].name, before.values()[v].name);
    EXPECT_EQ(graph.values()[v].role, before.values()[v].role);
  }
  EXPECT_EQ(graph.nodes()[1].out[3], sums[0]);
  EXPECT_EQ(graph.nodes()[1].in[4], graph.nodes()[0].out[0]);
  EXPECT_EQ(graph.nodes()[1].in[5], graph.nodes()[0].in[0]);  // the residual
  EXPECT_EQ(graph.nodes()[1].op->attributes(), before.nodes()[0].op->attributes());
}

TEST(SplitNorms, LeavesWhatIsNotCut) {
  std::vector<Value> sums;
  Graph graph = three_norms(sums);
  const auto before = operators(graph);
  split_norms(graph, [](const std::string&) { return ImageParts{}; });
  EXPECT_EQ(operators(graph), before);
  split_norms(graph, [](const std::string&) { return ImageParts{7, 1}; });  // of 6 rows
  EXPECT_EQ(operators(graph), before);
}

}  // namespace
}  // namespace lockstep::test
