// Updates of flat ranges, cut into stretches, by the formulas in double.
#include <algorithm>
#include <functional>

#include "core/step_state.h"
#include "layers/optimizers/loss_scale.h"
#include "tests/properties/case.h"

namespace lockstep::test {

namespace {

/// One element: its value, what is handed over as its gradient, and its slots.
struct Element {
  double value = 0, gradient = 0;
  std::array<double, 3> slot{};
};
/// What an update's reference is given besides.
struct Given {
  double lr = 0, samples = 1, step = 1;  // step counts from 1
  double value_norm = 0, gradient_norm = 0;
  bool excluded = false;
  Regularizer penalty = {};
};
using Update = std::function<void(Element&, const Given&)>;

struct Drawn {
  Formula formula;
  Update update;
};

/// The mean gradient and L2 penalty of what is not excluded.
double decayed(const Element& e, const Given& now, float decay) {
  return e.gradient / now.samples + (now.excluded ? 0 : double{decay}) * e.value;
}

/// Adam's two moments and its direction.
double adam_direction(Element& e, double g, const Given& now, double beta_1, double beta_2, double epsilon) {
  e.slot[0] = beta_1 * e.slot[0] + (1 - beta_1) * g;
  e.slot[1] = beta_2 * e.slot[1] + (1 - beta_2) * g * g;
  const double m = e.slot[0] / (1 - std::pow(beta_1, now.step)), v = e.slot[1] / (1 - std::pow(beta_2, now.step));
  return m / (std::sqrt(v) + epsilon);
}

Drawn drawn_optimizer(Case& c) {
  const float decay = c.coin() ? 0 : c.real(0.001F, 0.1F), momentum = c.coin() ? 0 : c.real(0.1F, 0.95F);
  const float beta_1 = c.real(0.5F, 0.95F), beta_2 = c.real(0.9F, 0.999F), epsilon = c.real(1e-4F, 1e-2F);
  const double b1 = double{beta_1}, b2 = double{beta_2}, eps = double{epsilon}, mu = double{momentum};
  switch (c.whole(0, 6)) {
    case 0: {
      const bool nesterov = momentum > 0 && c.coin();
      return {SGD{.momentum = momentum, .nesterov = nesterov, .weight_decay = decay},
              [=](Element& e, const Given& now) {
                const double g = decayed(e, now, decay);
                e.slot[0] = mu * e.slot[0] + g;
                e.value -= now.lr * (nesterov ? g + mu * e.slot[0] : (mu > 0 ? e.slot[0] : g));
              }};
    }
    case 1:
      return {Adam{.beta_1 = beta_1, .beta_2 = beta_2, .epsilon = epsilon, .weight_decay = decay},
              [=](Element& e, const Given& now) {
                e.value -= now.lr * adam_direction(e, decayed(e, now, decay), now, b1, b2, eps);
              }};
    case 2:
      return {AdamW{.beta_1 = beta_1, .beta_2 = beta_2, .epsilon = epsilon, .weight_decay = decay},
              [=](Element& e, const Given& now) {
                if (!now.excluded) e.value -= now.lr * double{decay} * e.value;
                e.value -= now.lr * adam_direction(e, e.gradient / now.samples, now, b1, b2, eps);
              }};
    case 3: {
      const bool centered = c.coin();
      const float rho = c.real(0.5F, 0.9F);
      return {
          RMSprop{.rho = rho, .momentum = momentum, .epsilon = epsilon, .centered = centered, .weight_decay = decay},
          [=](Element& e, const Given& now) {
            const double g = decayed(e, now, decay), r = double{rho};
            e.slot[0] = r * e.slot[0] + (1 - r) * g * g;
            double variance = e.slot[0];
            if (centered) {
              e.slot[1] = r * e.slot[1] + (1 - r) * g;
              variance -= e.slot[1] * e.slot[1];
            }
            const double d = g / (std::sqrt(variance) + eps);
            double& velocity = e.slot[centered ? 2 : 1];
            if (mu > 0) velocity = mu * velocity + d;
            e.value -= now.lr * (mu > 0 ? velocity : d);
          }};
    }
    case 4: {
      const float start = c.real(0, 0.2F);
      return {Adagrad{.initial_accumulator_value = start, .epsilon = epsilon, .weight_decay = decay},
              [=](Element& e, const Given& now) {
                const double g = decayed(e, now, decay);
                e.slot[0] += g * g;
                e.value -= now.lr * g / (std::sqrt(double{start} + e.slot[0]) + eps);
              }};
    }
    case 5: {
      const float eeta = c.real(0.001F, 0.1F);
      return {LARS{.momentum = momentum, .weight_decay = decay, .eeta = eeta, .epsilon = epsilon},
              [=](Element& e, const Given& now) {
                const double norm = now.gradient_norm / now.samples;
                const double trust = double{eeta} * now.value_norm / (norm + double{decay} * now.value_norm + eps);
                const double g = decayed(e, now, decay), rate = now.excluded ? 1 : trust;
                e.slot[0] = mu * e.slot[0] + now.lr * rate * g;
                e.value -= e.slot[0];
              }};
    }
    default:
      return {LambDirection{beta_1, beta_2, epsilon, decay}, [=](Element& e, const Given& now) {
                const double u = adam_direction(e, e.value / now.samples, now, b1, b2, eps);
                e.value = u + (now.excluded ? 0 : double{decay}) * e.gradient;
              }};
  }
}

/// What is done before and after an optimizer.
Drawn drawn_step_around(Case& c) {
  switch (c.whole(0, 6)) {
    case 0:
      return {LambStep{}, [](Element& e, const Given& now) {
                e.value -= now.lr * (now.excluded ? 1 : now.value_norm / now.gradient_norm) * e.gradient;
              }};
    case 1:
      return {PenaltyGradient{}, [](Element& e, const Given& now) {
                const double sign = e.gradient > 0 ? 1 : (e.gradient < 0 ? -1 : 0);
                e.value += now.samples * (double{now.penalty.l1} * sign + 2 * double{now.penalty.l2} * e.gradient);
              }};
    case 2: {
      const float limit = c.real(0.1F, 2);
      return {ClipValue{limit}, [=](Element& e, const Given& now) {
                e.value = std::clamp(e.value, -double{limit} * now.samples, double{limit} * now.samples);
              }};
    }
    case 3: {
      const float limit = c.real(0.01F, 2);
      return {ClipNorm{limit}, [=](Element& e, const Given& now) {
                const double norm = now.value_norm / now.samples;
                if (norm > double{limit} && !now.excluded) e.value *= double{limit} / norm;
              }};
    }
    case 4:
      return {LookaheadStart{}, [](Element& e, const Given& now) {
                if (now.step == 1) e.value = e.gradient;
              }};
    case 5: {
      const int64_t steps = c.whole(1, 3);
      const float alpha = c.real(0.1F, 0.9F);
      return {LookaheadStep{steps, alpha}, [=](Element& e, const Given& now) {
                if (std::fmod(now.step, static_cast<double>(steps)) != 0) return;
                e.slot[0] += double{alpha} * (e.value - e.slot[0]);
                e.value = e.slot[0];
              }};
    }
    default: {
      const float momentum = c.real(0.5F, 0.99F);
      return {AverageStep{momentum}, [=](Element& e, const Given& now) {
                const double keeps = now.step > 1 ? double{momentum} : 0;
                e.value = keeps * e.value + (1 - keeps) * e.gradient;
              }};
    }
  }
}

/// Parts of the range that do not meet; between them elements that stay what they are.
std::vector<Stretch> drawn_stretches(Case& c, int64_t n, int variables) {
  std::vector<Stretch> stretches;
  for (int64_t at = c.whole(0, 3); at < n;) {
    const int64_t end = c.one_in(3) ? n : std::min(n, at + c.whole(1, 40));
    stretches.push_back({.begin = at,
                         .end = end,
                         .excluded = c.coin(),
                         .norm = static_cast<int>(c.whole(0, variables - 1)),
                         .penalty = {c.real(0, 0.1F), c.real(0, 0.1F)}});
    at = end + c.whole(0, 9);
  }
  return stretches;
}

}  // namespace

template <>
void property<UpdateOp>(Case& c) {
  const Drawn drawn = c.one_in(3) ? drawn_step_around(c) : drawn_optimizer(c);
  const int64_t n = c.length();
  const int variables = static_cast<int>(c.whole(1, 4));
  const bool scaled = c.coin();
  const UpdateOp op(drawn.formula, scaled, c.coin() ? std::vector<Stretch>() : drawn_stretches(c, n, variables));
  const auto step = static_cast<uint64_t>(c.whole(0, 5));
  const StepState state{.step = step, .samples = c.whole(1, 64), .lr = c.real(0.001F, 0.1F)};

  const auto spread = 2 * static_cast<float>(state.samples);
  std::vector<Buffer> in{c.uniform({n}), c.uniform({n}, -spread, spread), state_buffer(state)};
  std::vector<std::pair<size_t, size_t>> in_place;
  for (size_t slot = 0; slot < op.slots(); ++slot) {
    in_place.emplace_back(1 + slot, 3 + slot);
    // Squares are above 0 and, in a centred variance, above the mean's square.
    in.push_back(slot == 0 ? c.uniform({n}, 0.6F, 1) : c.uniform({n}, 0, 0.5F));
  }
  const bool adapts = op.adapts();
  if (adapts)
    for (int of = 0; of < 2; ++of) in.push_back(c.uniform({variables}, 0.5F, 20));
  const double scale = scaled ? std::exp2(static_cast<double>(c.whole(0, 6))) : 1;
  const bool finite = !scaled || !c.one_in(4);
  if (scaled) {
    in.push_back(holding(loss_scale_type(), {scale, 1}));
    in.push_back(holding({Shape{1}}, {finite ? 1.0 : double{not_finite}}));
  }

  std::vector<Sums> expected(1 + op.slots(), Sums(static_cast<size_t>(n)));
  const auto keep = [&](size_t i, const Element& e, double size) {
    for (size_t k = 0; k < expected.size(); ++k) {
      Sum& v = expected[k][i];
      v = Sum(k == 0 ? e.value : e.slot[k - 1]);
      v.size += size;
    }
  };
  const auto element = [&](size_t i) {
    Element e{number(in[0], i), number(in[1], i)};
    for (size_t slot = 0; slot < op.slots(); ++slot) e.slot.at(slot) = number(in[3 + slot], i);
    return e;
  };
  for (size_t i = 0; i < static_cast<size_t>(n); ++i) keep(i, element(i), 0);
  Given now{.lr = double{state.lr},
            .samples = static_cast<double>(state.samples) * scale,
            .step = static_cast<double>(step) + 1};
  if (finite)
    for (const Stretch& stretch : op.stretches_of(n)) {
      now.excluded = stretch.excluded;
      now.penalty = stretch.penalty;
      if (adapts) {
        const auto norms = 3 + op.slots(), of = static_cast<size_t>(stretch.norm);
        now.value_norm = number(in[norms], of);
        now.gradient_norm = number(in[norms + 1], of);
      }
      for (auto i = static_cast<size_t>(stretch.begin); i < static_cast<size_t>(stretch.end); ++i) {
        Element e = element(i);
        const double before = std::abs(e.value) + std::abs(e.gradient / now.samples);
        drawn.update(e, now);
        keep(i, e, before);
      }
    }
  const auto out = c.run(op, in, {.in_place = in_place});
  for (size_t k = 0; k < expected.size(); ++k) c.near(k == 0 ? "values" : "slot", out[k], expected[k], 3e-6);
}

}  // namespace lockstep::test
