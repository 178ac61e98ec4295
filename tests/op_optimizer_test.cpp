// SGD, Adam and the moving average against plain loops in double, in place and over ranges cut anywhere.
#include <omp.h>

#include "core/step_state.h"
#include "layers/optimizers/moving_average.h"
#include "layers/optimizers/norms.h"
#include "layers/optimizers/update.h"
#include "tests/op_check.h"

namespace lockstep::test {
namespace {

constexpr int64_t samples = 24;
constexpr float lr = 0.05F;

/// Parameters and slots of one optimizer, updated where they lie.
struct Flat {
  Flat(int64_t n, size_t slots) {
    kept.push_back(uniform({n}, 1));
    for (size_t i = 0; i < slots; ++i) kept.emplace_back(Type{Shape{n}});
  }
  /// Updates elements begin … end, every output in its input's memory.
  template <class OpClass>
  void update(const OpClass& op, const Buffer& sum, uint64_t step, int64_t begin, int64_t end) {
    TestBackend& on = test_backend();
    std::vector<Arena> memory;
    const auto placed = [&](const Buffer& buffer) {
      memory.emplace_back(*on.backend, buffer.type().bytes());
      on.backend->copy(memory.back().data(), buffer.tensor().data, buffer.type().bytes());
      return memory.back().data();
    };
    const Type type{Shape{end - begin}};
    const auto part = [&](const Buffer& buffer) {
      return Tensor{placed(buffer) + begin * int64_t{sizeof(float)}, type};
    };
    const Buffer state = state_buffer(StepState{.step = step, .samples = samples, .lr = lr});
    std::vector<Tensor> out;
    for (const Buffer& buffer : kept) out.push_back(part(buffer));
    std::vector<Tensor> in{out[0], part(sum), {placed(state), state.type()}};
    in.insert(in.end(), out.begin() + 1, out.end());
    Signature signature;
    for (const Tensor& tensor : in) signature.in.push_back(tensor.type);
    signature.out = op.infer(signature.in);
    ASSERT_EQ(signature.out.size(), out.size());
    on.kernels.make(op, signature).run(*on.stream, {in, out});
    on.stream->synchronize();
    for (size_t i = 0; i < kept.size(); ++i)
      on.backend->copy(kept[i].tensor().data, memory[i].data(), kept[i].type().bytes());
  }
  std::vector<Buffer> kept;
};

Buffer gradient_sum(int64_t n, uint64_t step) { return uniform({n}, 100 + static_cast<unsigned>(step), -30, 30); }

/// `reference(p, g, slots, t)` updates one element in double; t counts from 1.
template <class OpClass, class Reference>
void expect_ten_steps(const OpClass& op, size_t slots, double decay, Reference reference) {
  constexpr int64_t n = 37;
  Flat flat(n, slots);
  const auto start = flat.kept[0];
  std::vector<double> p(start.as().begin(), start.as().end());
  std::vector<std::array<double, 2>> slot(p.size());
  for (uint64_t step = 0; step < 10; ++step) {
    const Buffer sum = gradient_sum(n, step);
    flat.update(op, sum, step, 0, n);
    for (size_t i = 0; i < p.size(); ++i)
      reference(p[i], double{sum[i]} / samples + decay * p[i], slot[i], static_cast<double>(step + 1));
  }
  EXPECT_TRUE(close(flat.kept[0], p, 5e-6, 5e-6));
  EXPECT_FALSE(close(start, p, 1e-3));
  for (size_t s = 0; s < slots; ++s) {
    std::vector<double> expected;
    for (const auto& values : slot) expected.push_back(values[s]);
    EXPECT_TRUE(close(flat.kept[s + 1], expected, 5e-6, 1e-5)) << "slot " << s;
  }
}

TEST(Sgd, TenStepsMatchReference) {
  for (float decay : {0.0F, 0.1F}) {
    expect_ten_steps(UpdateOp(SGD{.weight_decay = decay}), 0, decay,
                     [](double& p, double g, auto&, double) { p -= double{lr} * g; });
    for (bool nesterov : {false, true})
      expect_ten_steps(UpdateOp(SGD{.momentum = 0.9F, .nesterov = nesterov, .weight_decay = decay}), 1, decay,
                       [=](double& p, double g, auto& slot, double) {
                         slot[0] = double{0.9F} * slot[0] + g;
                         p -= double{lr} * (nesterov ? g + double{0.9F} * slot[0] : slot[0]);
                       });
  }
}

TEST(Adam, TenStepsMatchReference) {
  for (float decay : {0.0F, 0.1F})
    expect_ten_steps(UpdateOp(Adam{.beta_1 = 0.9F, .beta_2 = 0.999F, .epsilon = 1e-7F, .weight_decay = decay}), 2,
                     decay, [](double& p, double g, auto& slot, double t) {
                       const double b1 = double{0.9F}, b2 = double{0.999F};
                       slot[0] = b1 * slot[0] + (1 - b1) * g;
                       slot[1] = b2 * slot[1] + (1 - b2) * g * g;
                       const double m = slot[0] / (1 - std::pow(b1, t)), v = slot[1] / (1 - std::pow(b2, t));
                       p -= double{lr} * m / (std::sqrt(v) + double{1e-7F});
                     });
}

template <class OpClass>
void expect_same_bits_however_cut(const OpClass& op, size_t slots) {
  constexpr int64_t n = 50021;
  Flat whole(n, slots), cut = whole, threaded = whole, wrong = whole;
  for (uint64_t step = 0; step < 3; ++step) {
    const Buffer sum = gradient_sum(n, step);
    whole.update(op, sum, step, 0, n);
    const int64_t ends[]{0, 1, 4, 13, 9998, n};
    for (size_t i = 0; i + 1 < std::size(ends); ++i) cut.update(op, sum, step, ends[i], ends[i + 1]);
    omp_set_num_threads(3);
    threaded.update(op, sum, step, 0, n);
    omp_set_num_threads(1);
    wrong.update(op, sum, step, 0, n - 1);
  }
  for (size_t i = 0; i < whole.kept.size(); ++i) {
    EXPECT_TRUE(same_bits(whole.kept[i], cut.kept[i])) << i;
    EXPECT_TRUE(same_bits(whole.kept[i], threaded.kept[i])) << i;
    EXPECT_FALSE(same_bits(whole.kept[i], wrong.kept[i])) << i;
  }
}

TEST(Sgd, RangesMayBeCutAnywhere) {
  expect_same_bits_however_cut(UpdateOp(SGD{.weight_decay = 0.01F}), 0);
  expect_same_bits_however_cut(UpdateOp(SGD{.momentum = 0.9F, .weight_decay = 0.01F}), 1);
  expect_same_bits_however_cut(UpdateOp(SGD{.momentum = 0.9F, .nesterov = true, .weight_decay = 0.01F}), 1);
}
TEST(Adam, RangesMayBeCutAnywhere) {
  expect_same_bits_however_cut(
      UpdateOp(Adam{.beta_1 = 0.9F, .beta_2 = 0.999F, .epsilon = 1e-7F, .weight_decay = 0.01F}), 2);
}

TEST(Adam, FirstStepIsTheLearningRate) {
  // m / (1 - beta_1) = g and v / (1 - beta_2) = g * g: the step is lr * sign(g), whatever the size of g.
  Flat flat(9, 2);
  const Buffer before = flat.kept[0];
  flat.update(UpdateOp(Adam{.beta_1 = 0.9F, .beta_2 = 0.999F, .epsilon = 1e-7F}), gradient_sum(9, 0), 0, 0, 9);
  for (size_t i = 0; i < 9; ++i)
    EXPECT_TRUE(std::abs(std::abs(flat.kept[0][i] - before[i]) - lr) <= 1e-6F) << flat.kept[0][i] - before[i];
}

TEST(Optimizers, NanReachesTheParameter) {
  Buffer sum = gradient_sum(11, 0);
  sum[3] = sum[10] = std::nanf("");  // in the body and in the tail
  Flat sgd(11, 1), adam(11, 2);
  sgd.update(UpdateOp(SGD{.momentum = 0.9F}), sum, 0, 0, 11);
  adam.update(UpdateOp(Adam{.beta_1 = 0.9F, .beta_2 = 0.999F, .epsilon = 1e-7F}), sum, 0, 0, 11);
  for (const Flat* flat : {&sgd, &adam})
    for (const Buffer& buffer : flat->kept)
      for (size_t i = 0; i < 11; ++i) EXPECT_EQ(std::isnan(buffer[i]), i == 3 || i == 10);
}

/// Parameters, gradients and all else an update takes, n elements of two variables; `formula` adapts or not.
std::vector<Buffer> update_inputs(const UpdateOp& op, int64_t n) {
  std::vector<Buffer> in{uniform({n}, 1), gradient_sum(n, 3),
                         state_buffer(StepState{.step = 4, .samples = samples, .lr = lr})};
  for (size_t i = 0; i < op.slots(); ++i) in.push_back(uniform({n}, 5 + static_cast<unsigned>(i), 0.5F, 1));
  if (op.adapts())
    for (const float norm : {3.0F, 40.0F}) in.push_back(filled(Type{Shape{2}}, std::vector<float>{norm, 2 * norm}));
  return in;
}

TEST(Formulas, AreTheSameInStretchesAndLeaveTheRestAlone) {
  constexpr int64_t n = 2011, cut = 1000;
  const Formula formulas[]{SGD{.momentum = 0.9F, .weight_decay = 0.1F},
                           AdamW{.weight_decay = 0.1F},
                           RMSprop{.momentum = 0.5F, .centered = true, .weight_decay = 0.1F},
                           Adagrad{.weight_decay = 0.1F},
                           LARS{.weight_decay = 0.1F},
                           LambDirection{0.9F, 0.999F, 1e-6F, 0.1F},
                           LambStep{},
                           ClipValue{0.01F},
                           ClipNorm{0.01F},
                           LookaheadStep{5, 0.5F},
                           AverageStep{0.9F}};
  for (const Formula& formula : formulas) {
    const UpdateOp whole(formula), parts(formula, false, {{0, cut, false, 0}, {cut, n, false, 0}});
    const UpdateOp excluded(formula, false, {{0, cut, false, 0}, {cut + 1, n, true, 0}});
    const auto in = update_inputs(whole, n);
    const auto expected = run_op(whole, in);
    EXPECT_FALSE(same_bits(expected[0], in[0])) << whole.name();
    for (const bool in_place : {false, true}) {
      const auto in_parts = run_op(parts, in, in_place), rest = run_op(excluded, in, in_place);
      bool differs = false;
      for (size_t k = 0; k < expected.size(); ++k) {
        EXPECT_TRUE(same_bits(in_parts[k], expected[k])) << whole.name() << " " << k;
        for (int64_t i = 0; i < n; ++i) {
          const auto e = static_cast<size_t>(i);
          const float want = i == cut ? in[k == 0 ? 0 : k + 2][e] : expected[k][e];
          if (i <= cut) {
            EXPECT_TRUE(rest[k][e] == want) << whole.name() << " " << k << " " << i;
          } else {
            differs |= rest[k][e] != expected[k][e];
          }
        }
      }
      // Where decay or a ratio makes a difference, excluding from them does.
      const bool excludes = std::visit([](const auto& f) { return decay_of(f) > 0 || f.traits.adapts; }, formula);
      EXPECT_EQ(differs, excludes) << whole.name();
    }
  }
}

TEST(Formulas, PenaltiesAndClippingMatchReferences) {
  constexpr int64_t n = 1003;
  const Buffer sum = gradient_sum(n, 1), weights = uniform({n}, 2, -1, 1);
  const Buffer state = state_buffer(StepState{.step = 2, .samples = samples, .lr = lr});
  std::vector<double> penalised, clipped, scaled;
  for (size_t i = 0; i < n; ++i) {
    const double w = weights[i], sign = w > 0 ? 1 : w < 0 ? -1 : 0;
    penalised.push_back(i < 10 ? double{sum[i]} : sum[i] + samples * (0.25 * sign + 2 * 0.5 * w));
    clipped.push_back(std::clamp<double>(sum[i], -0.5 * samples, 0.5 * samples));
    scaled.push_back(sum[i] * 0.5 / (960.0 / samples));
  }
  const UpdateOp penalty(PenaltyGradient{}, false, {{10, n, false, 0, {0.25F, 0.5F}}});
  EXPECT_TRUE(close(run_op(penalty, {sum, weights, state})[0], penalised, 1e-5));
  EXPECT_TRUE(close(run_op(UpdateOp(ClipValue{0.5F}), {sum, sum, state})[0], clipped, 1e-6));
  const Buffer norm = filled(Type{Shape{1}}, std::vector<float>{960});
  EXPECT_TRUE(close(run_op(UpdateOp(ClipNorm{0.5F}), {sum, sum, state, norm, norm})[0], scaled, 1e-5));
  EXPECT_TRUE(same_bits(run_op(UpdateOp(ClipNorm{40}), {sum, sum, state, norm, norm})[0], sum));
}

TEST(Formulas, LookaheadIsIdleBetweenItsSteps) {
  const Buffer p = uniform({99}, 1), slow = uniform({99}, 2);
  for (uint64_t step = 0; step < 6; ++step) {
    const Buffer state = state_buffer(StepState{.step = step, .samples = samples, .lr = lr});
    const auto out = run_op(UpdateOp(LookaheadStep{3, 0.5F}), {p, p, state, slow});
    EXPECT_EQ(same_bits(out[0], p), (step + 1) % 3 != 0) << step;
    EXPECT_EQ(same_bits(out[1], slow), (step + 1) % 3 != 0) << step;
    EXPECT_TRUE(same_bits(run_op(UpdateOp(LookaheadStart{}), {slow, p, state})[0], step == 0 ? p : slow)) << step;
  }
}

TEST(Norms, MatchReferenceWhateverTheThreads) {
  const Buffer a = uniform({50021}, 1), b = uniform({77}, 2, 1e-25F, 2e-25F);
  const NormsOp op({{0, 3, 50020}, {1, 0, 77}, {}, {0, 0, 1}});
  std::vector<double> expected(4);
  for (size_t i = 3; i < 50020; ++i) expected[0] += double{a[i]} * a[i];
  for (size_t i = 0; i < 77; ++i) expected[1] += double{b[i]} * b[i];
  expected[3] = double{a[0]} * a[0];
  for (double& x : expected) x = std::sqrt(x);
  const Buffer norms = run_op(op, {a, b})[0];
  for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(std::abs(norms[i] - expected[i]) <= 1e-6 * expected[i]) << i;
  omp_set_num_threads(3);
  EXPECT_TRUE(same_bits(run_op(op, {a, b})[0], norms));
  omp_set_num_threads(1);
  const double total = std::hypot(expected[0], expected[1], expected[3]);
  const Buffer all = run_op(TotalNormOp(), {norms})[0];
  for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(std::abs(all[i] - total) <= 1e-6 * total) << i;
  Buffer bad = a;
  bad[777] = std::nanf("");
  EXPECT_TRUE(std::isnan(run_op(op, {bad, b})[0][0]));
}

TEST(MovingAverage, MatchesReferenceInPlace) {
  const Buffer moving = uniform({19}, 1), sum = uniform({19}, 2, -50, 50);
  std::vector<double> expected;
  for (size_t i = 0; i < 19; ++i) expected.push_back(double{0.9F} * moving[i] + (1 - double{0.9F}) * sum[i] / samples);
  const Buffer state = state_buffer(StepState{.samples = samples});
  for (bool in_place : {false, true})
    EXPECT_TRUE(close(run_op(MovingAverageOp(0.9F), {moving, sum, state}, in_place)[0], expected, 1e-6));
}

TEST(Optimizers, Errors) {
  EXPECT_EQ(error_of([] { UpdateOp(SGD{.momentum = 0.9F, .nesterov = true}); }), "");
  EXPECT_EQ(error_of([] { UpdateOp(SGD{.momentum = 1}); }), "sgd: got momentum 1, expected 0 <= momentum < 1");
  EXPECT_EQ(error_of([] { UpdateOp(SGD{.nesterov = true}); }),
            "sgd: got nesterov with momentum 0, expected a momentum above 0");
  EXPECT_EQ(error_of([] { UpdateOp(SGD{.weight_decay = std::nanf("")}); }),
            "sgd: got weight_decay nan, expected 0 or more");
  EXPECT_EQ(error_of([] { UpdateOp(Adam{.beta_1 = 1.5F, .beta_2 = 0, .epsilon = 1}); }),
            "adam: got beta_1 1.5, expected 0 <= beta_1 < 1");
  EXPECT_EQ(error_of([] { UpdateOp(Adam{.beta_1 = 0, .beta_2 = -1, .epsilon = 1}); }),
            "adam: got beta_2 -1, expected 0 <= beta_2 < 1");
  EXPECT_EQ(error_of([] { UpdateOp(Adam{.beta_1 = 0, .beta_2 = 0, .epsilon = 0}); }),
            "adam: got epsilon 0, expected a number above 0");
  EXPECT_EQ(error_of([] { MovingAverageOp(2); }), "moving average: got momentum 2, expected 0 to 1");
  const Type four{Shape{4}}, five{Shape{5}};
  EXPECT_EQ(error_of([&] {
              UpdateOp(SGD{}).infer(std::vector<Type>{four, five, step_state_type()});
            }),
            "the gradient sum is f32[5], expected f32[4]");
  EXPECT_EQ(error_of([&] {
              UpdateOp(Adam{.beta_1 = 0, .beta_2 = 0, .epsilon = 1})
                  .infer(std::vector<Type>{four, four, step_state_type(), four});
            }),
            "got 4 inputs, expected 5");
}

}  // namespace
}  // namespace lockstep::test
