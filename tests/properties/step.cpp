// What a step makes of gradients and statistics: norms of shared variables, moving averages, the loss' scale.
#include <algorithm>
#include <limits>

#include "layers/normalization/moments.h"
#include "layers/optimizers/loss_scale.h"
#include "layers/optimizers/norms.h"
#include "tests/properties/case.h"

namespace lockstep::test {

namespace {

/// Variables in some inputs, and the members that each has some lines of.
struct Shared {
  explicit Shared(Case& c) : parts(static_cast<size_t>(c.whole(1, 3))) {
    for (int64_t i = c.whole(1, 3); i > 0; --i) in.push_back(c.uniform({c.length()}));
    for (int64_t left = c.whole(1, 5); left > 0; --left) {
      const auto variable = static_cast<int32_t>(squares.size());
      const auto input = static_cast<size_t>(c.whole(0, std::ssize(in) - 1));
      const int64_t begin = c.whole(0, in[input].shape()[0]), end = c.whole(begin, in[input].shape()[0]);
      squares.push_back(sum(input, begin, end));
      std::vector<int64_t> cuts{0, end - begin};
      while (cuts.size() <= parts.size())
        cuts.push_back(std::min(squares_line * c.whole(0, (end - begin) / squares_line + 1), end - begin));
      std::ranges::sort(cuts);
      for (size_t k = 0; k < parts.size(); ++k)
        if (cuts[k] < cuts[k + 1])
          parts[k].push_back({variable, input, begin + cuts[k], begin + cuts[k + 1], cuts[k], end - begin});
    }
  }
  double sum(size_t input, int64_t begin, int64_t end) const {
    double total = 0;
    for (auto k = static_cast<size_t>(begin); k < static_cast<size_t>(end); ++k)
      total += number(in[input], k) * number(in[input], k);
    return total;
  }
  void expect_norms(Case& c, const Buffer& norms) const {
    Sums expected;
    for (const double square : squares) expected.emplace_back(std::sqrt(square));
    c.near("norms", norms, expected, 1e-7);
  }

  std::vector<Buffer> in;
  std::vector<std::vector<VariablePart>> parts;  // by member
  std::vector<double> squares;                   // by variable
};

void expect_sum(Case& c, const SquareSum& got, int32_t variable, int32_t level, double sum) {
  c.near("the sum of squares", got.sum, sum, 1e-13);
  c.expect(got.variable == variable && got.level == level,
           fmt::format("a sum is of variable {} and level {}, expected {} and {}", got.variable, got.level, variable,
                       level));
}

}  // namespace

template <>
void property<NormsOp>(Case& c) {
  const Shared of(c);
  const auto variables = std::ssize(of.squares), members = std::ssize(of.parts);
  std::vector<std::vector<Subtree>> subtrees;
  auto room = static_cast<size_t>(c.whole(1, 3));
  for (const auto& parts : of.parts) room = std::max(room, subtrees.emplace_back(subtrees_of(parts)).size());
  Buffer all(square_sums_type(members * static_cast<int64_t>(room)));
  auto* next = all.as<SquareSum>().data();
  for (const auto& trees : subtrees) {
    const auto out = c.run(NormsOp(variables, trees, static_cast<int64_t>(room)), of.in);
    if (members == 1) of.expect_norms(c, out[0]);
    for (size_t i = 0; i < room; ++i) {
      const SquareSum got = *next++ = out[1].as<SquareSum>()[i];
      if (i < trees.size())
        expect_sum(c, got, trees[i].variable, trees[i].level, of.sum(trees[i].input, trees[i].begin, trees[i].end));
      else
        expect_sum(c, got, SquareSum().variable, 0, 0);
    }
  }
  const auto out = c.run(NormsOp(variables, members), {all});
  of.expect_norms(c, out[0]);
  for (size_t v = 0; v < of.squares.size(); ++v)
    expect_sum(c, out[1].as<SquareSum>()[v], static_cast<int32_t>(v), 0, of.squares[v]);
}

template <>
void property<TotalNormOp>(Case& c) {
  const Buffer norms = c.uniform({c.whole(1, 200)}, 0, 9);
  double sum = 0;
  for (const double v : numbers(norms)) sum += v * v;
  c.near("norm", c.run(TotalNormOp(), {norms})[0], Sums(count(norms), Sum(std::sqrt(sum))), 1e-7);
}

namespace {

/// Moments of so many channels, some of no values.
Buffer drawn_moments(Case& c, int64_t channels) {
  std::vector<double> all;
  for (int64_t i = 0; i < channels; ++i) {
    const auto values = static_cast<double>(c.one_in(4) ? c.whole(0, 1) : c.whole(2, 500));
    const double mean = values > 0 ? double{c.real(-3, 3)} : 0, variance = values > 1 ? double{c.real(0, 2)} : 0;
    all.insert(all.end(), {values, mean, variance * values, 0});
  }
  return holding(moments_type({Shape{1, channels}}), all);
}

}  // namespace

template <>
void property<MovingAverageOp>(Case& c) {
  const int64_t n = c.channels();
  const float momentum = c.real(0, 1);
  const Buffer mean = c.uniform({n}), variance = c.uniform({n}, 0, 2), batch = drawn_moments(c, n);
  Sums means, variances;
  const auto moved = [&](double before, double now) {
    Sum moving(double{momentum} * before);
    moving.add((1 - double{momentum}) * now);
    moving.size += std::abs(now);  // 1 - momentum has a rounding of its own
    return moving;
  };
  for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
    const double unbiased = number(batch, 4 * i + 2) / std::max(number(batch, 4 * i) - 1, 1.0);
    means.push_back(moved(number(mean, i), number(batch, 4 * i + 1)));
    variances.push_back(moved(number(variance, i), unbiased));
  }
  const auto out = c.run(MovingAverageOp(momentum), {mean, variance, batch}, {.in_place = {{1, 1}}});
  c.near("moving mean", out[0], means, 5e-7);
  c.near("moving variance", out[1], variances, 5e-7);
}

template <>
void property<MergeMomentsOp>(Case& c) {
  const int64_t n = c.channels();
  const Buffer a = drawn_moments(c, n), b = drawn_moments(c, n);
  Sums expected;
  for (size_t i = 0; i < count(a); i += 4) {
    const double of_a = number(a, i), of_b = number(b, i), all = std::max(of_a + of_b, 1.0);
    Sum mean(of_a * number(a, i + 1) / all), squares(number(a, i + 2));
    mean.add(of_b * number(b, i + 1) / all);
    squares.add(number(b, i + 2));
    squares.add(of_a * of_b / all * std::pow(number(a, i + 1) - number(b, i + 1), 2));
    expected.insert(expected.end(), {Sum(of_a + of_b), mean, squares, Sum()});
  }
  const Buffer out = c.run(MergeMomentsOp(), {a, b})[0];
  c.near("moments", out, expected, 2e-7);
  const auto same = same_bits(out, c.run(MergeMomentsOp(), {b, a})[0]);
  c.expect(static_cast<bool>(same), fmt::format("in the other order: {}", same.message()));
}

template <>
void property<FiniteOp>(Case& c) {
  std::vector<Buffer> in;
  for (int64_t i = c.whole(1, 4); i > 0; --i) in.push_back(c.uniform({c.length()}));
  const bool finite = c.coin();
  if (!finite) {
    Buffer& broken = in[static_cast<size_t>(c.whole(0, std::ssize(in) - 1))];
    const int64_t last = broken.shape()[0] - 1, place = c.coin() ? last : c.whole(0, last);
    constexpr float inf = std::numeric_limits<float>::infinity();
    broken[static_cast<size_t>(place)] = c.one_of({inf, -inf, std::numeric_limits<float>::quiet_NaN()});
  }
  c.equal("finite", c.run(FiniteOp(), in)[0], {finite ? 1.0 : double{not_finite}});
}

template <>
void property<LossScaleOp>(Case& c) {
  const auto interval = static_cast<int>(c.whole(1, 5));
  const double scale = std::exp2(static_cast<double>(c.whole(0, 127))),
               good = static_cast<double>(c.whole(0, interval - 1));
  const bool finite = c.coin(), due = finite && static_cast<int>(good) + 1 >= interval;
  const Buffer now = holding(loss_scale_type(), {scale, good});
  const Buffer flag = holding({Shape{1}}, {finite ? 1.0 : double{not_finite}});
  double next = finite ? scale : std::max(scale / 2, 1.0);
  if (due && scale < 0x1p127) next = scale * 2;
  c.equal("loss scale", c.run(LossScaleOp(interval), {now, flag})[0], {next, finite && !due ? good + 1 : 0});
}

}  // namespace lockstep::test
