// Optimizers, norms and the moving average against plain loops in double, in place and over ranges cut anywhere.
#include <omp.h>

#include "core/step_state.h"
#include "layers/optimizers/moving_average.h"
#include "layers/optimizers/norms.h"
#include "layers/optimizers/update.h"
#include "tests/support/op_check.h"

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

/// Variables, one input each, that are shared out among ranks: where each rank's part of one begins, in the order of
/// the parts, and in the end its elements.
using Shares = std::vector<std::vector<int64_t>>;

/// Their norms and sums of squares, from all ranks' sums.
std::vector<Buffer> norms_by(const std::vector<Buffer>& variables, const Shares& shares, int64_t room = 128) {
  const size_t ranks = shares[0].size() - 1;
  const auto count = static_cast<int64_t>(variables.size());
  Buffer own, all(square_sums_type(static_cast<int64_t>(ranks) * room));
  for (size_t rank = 0; rank < ranks; ++rank) {
    std::vector<VariablePart> parts;
    for (size_t v = variables.size(); v-- > 0;)  // in any order
      if (const int64_t begin = shares[v][rank], end = shares[v][rank + 1]; begin < end)
        parts.push_back({static_cast<int32_t>(v), v, begin, end, begin, shares[v].back()});
    const auto mine = run_op(NormsOp(count, subtrees_of(parts), room), variables);
    if (ranks == 1) own = mine[0];
    std::ranges::copy(mine[1].as<SquareSum>(), all.as<SquareSum>().begin() + static_cast<ptrdiff_t>(rank) * room);
  }
  const auto out = run_op(NormsOp(count, static_cast<int64_t>(ranks)), {all});
  if (ranks == 1) {
    EXPECT_TRUE(same_bits(own, out[0]));
  }
  // Along a further axis: other members have nothing of these, or the same again.
  Buffer two(square_sums_type(2 * count));
  std::ranges::copy(out[1].as<SquareSum>(), two.as<SquareSum>().begin());
  for (int32_t v = 0; v < count; ++v) two.as<SquareSum>()[static_cast<size_t>(count + v)] = {0, v, 0};
  EXPECT_TRUE(same_bits(run_op(NormsOp(count, 2), {two})[0], out[0]));
  return out;
}

/// By the definition: halves of a power of two of lines, zeros after the end.
double squares_of(std::span<const float> x, int64_t line, int64_t lines) {
  if (line * squares_line >= static_cast<int64_t>(x.size())) return 0;
  if (lines > 1) return squares_of(x, line, lines / 2) + squares_of(x, line + lines / 2, lines / 2);
  double sum[16] = {};
  for (size_t i = 0; i < 16; ++i)
    if (const size_t at = static_cast<size_t>(line) * 16 + i; at < x.size()) sum[i] = double{x[at]} * double{x[at]};
  for (size_t half : {8U, 4U, 2U, 1U})
    for (size_t i = 0; i < half; ++i) sum[i] += sum[i + half];
  return sum[0];
}

TEST(Norms, AreTheSameBitsHoweverVariablesAreSharedOut) {
  int orders = 0;
  for (unsigned seed = 0; seed < 12; ++seed) {
    std::mt19937 bits(seed);
    const auto roll = [&](int64_t first, int64_t last) {
      return first + static_cast<int64_t>(bits() % static_cast<uint64_t>(last - first + 1));
    };
    std::vector<Buffer> variables;
    Shares whole;
    for (int64_t v = roll(1, 5); v > 0; --v) {
      const int64_t n = seed % 4 == 0 && v == 1 ? roll(16000, 40000) : roll(1, roll(0, 1) == 0 ? 70 : 3000);
      variables.push_back(uniform({n}, static_cast<unsigned>(bits())));
      for (float& x : variables.back().as()) x = std::ldexp(x, static_cast<int>(roll(-20, 20)));
      whole.push_back({0, n});
    }
    const auto joined = norms_by(variables, whole);
    const Buffer& norms = joined[0];
    for (size_t v = 0; v < variables.size(); ++v) {
      long double plain = 0;
      for (const float x : variables[v].as()) plain += static_cast<long double>(x) * static_cast<long double>(x);
      const auto wanted = static_cast<double>(std::sqrt(plain));
      EXPECT_TRUE(std::abs(norms[v] - wanted) <= 1e-7 * wanted) << seed << " " << v;
      const double tree = squares_of(variables[v].as(), 0, int64_t{1} << 20);
      EXPECT_EQ(joined[1].as<SquareSum>()[v].sum, tree) << seed << " " << v;
      EXPECT_EQ(norms[v], static_cast<float>(std::sqrt(tree))) << seed << " " << v;
    }
    for (const int64_t ranks : {2, 3, 8, 61}) {
      Shares cut;
      for (const auto& ends : whole) {
        std::vector<int64_t> places{0, ends.back()};
        while (static_cast<int64_t>(places.size()) <= ranks)
          places.push_back(std::min(roll(0, ends.back() / 16 + 1) * 16, ends.back()));
        std::ranges::sort(places);
        cut.push_back(places);
      }
      // Of the sums in double: norms in 32 bits would hide another order.
      EXPECT_TRUE(same_bits(norms_by(variables, cut)[1], joined[1])) << seed << " " << ranks;
    }
    omp_set_num_threads(3);
    EXPECT_TRUE(same_bits(norms_by(variables, whole)[1], joined[1])) << seed;
    omp_set_num_threads(1);
    // The control: another order of the same squares has other bits now and then, one more bit always.
    double line = 0;
    for (const float x : variables[0].as()) line += double{x} * double{x};
    if (line != squares_of(variables[0].as(), 0, int64_t{1} << 20)) ++orders;
    const size_t last = variables[0].as().size() - 1;
    variables[0][last] += 2 * norms[0];
    EXPECT_FALSE(same_bits(norms_by(variables, whole)[0], norms)) << seed;
    variables[0][last] = std::nanf("");
    EXPECT_TRUE(std::isnan(norms_by(variables, whole)[0][0])) << seed;
  }
  EXPECT_GT(orders, 6);
}

TEST(Norms, OfAllVariablesAndOfNone) {
  const std::vector<Buffer> variables{uniform({50021}, 1), uniform({77}, 2, 1e-25F, 2e-25F), uniform({3}, 3)};
  const Buffer norms = norms_by(variables, {{0, 50021}, {0, 77}, {0, 0}})[0];  // of the third nobody has anything
  EXPECT_EQ(norms[2], 0.0F);
  EXPECT_GT(norms[1], 0.0F) << "squares of small numbers are not lost";
  const double total = std::hypot(double{norms[0]}, double{norms[1]});
  const Buffer all = run_op(TotalNormOp(), {norms})[0];
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(std::abs(all[i] - total) <= 1e-6 * total) << i;
  EXPECT_TRUE(says(error_of<Error>([] { subtrees_of({{0, 0, 0, 8, 8, 16}}); }), {"8 to 16 of 16", "whole lines"}));
}

TEST(MovingAverage, MatchesReferenceInPlace) {
  const Buffer mean = uniform({19}, 1), variance = uniform({19}, 2, 0, 3);
  Buffer moments = uniform({19, 4}, 3, 0, 50);
  std::vector<double> means, variances;
  for (size_t i = 0; i < 19; ++i) {
    moments[4 * i] = static_cast<float>(i + 1);  // of one value, whose variance is 0
    if (i == 0) moments[2] = 0;
    const double unbiased = moments[4 * i + 2] / std::max(1.0, static_cast<double>(i));
    means.push_back(double{0.9F} * mean[i] + (1 - double{0.9F}) * moments[4 * i + 1]);
    variances.push_back(double{0.9F} * variance[i] + (1 - double{0.9F}) * unbiased);
  }
  for (bool in_place : {false, true}) {
    const auto out = run_op(MovingAverageOp(0.9F), {mean, variance, moments}, in_place);
    EXPECT_TRUE(close(out[0], means, 1e-6, 1e-6));
    EXPECT_TRUE(close(out[1], variances, 1e-6, 1e-6));
  }
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
