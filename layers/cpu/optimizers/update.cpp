#include "layers/optimizers/update.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "core/step_state.h"
#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"
#include "layers/cpu/vec.h"
#include "layers/optimizers/loss_scale.h"

namespace lockstep::cpu {

namespace {

struct Math {
  static double power(double base, double exponent) { return std::pow(base, exponent); }
  /// Correctly rounded in both forms.
  template <class V>
  [[gnu::always_inline]] static V root(V v) {
    if constexpr (std::is_same_v<V, Vec>) {
      float elements[width<V>];
      store(elements, v);
      for (float& element : elements) element = std::sqrt(element);
      return load<V>(elements);
    } else {
      return std::sqrt(v);
    }
  }
};

/// What gradient sums are divided by: the samples, times the loss scale where `scaled`.
float divisor(const Args& args, bool scaled) {
  const auto samples = static_cast<float>(args.in[2].as<StepState>()->samples);
  return scaled ? samples * args.in[args.in.size() - 2].as<LossScale>()->scale : samples;
}

/// Makes the outputs what the inputs are.
void stand_still(const Args& args) {
  for (size_t i = 0; i < args.out.size(); ++i) {
    const Tensor& from = args.in[i == 0 ? 0 : i + 2];
    if (args.out[i].data != from.data) std::memcpy(args.out[i].data, from.data, from.type.bytes());
  }
}

template <int Slots>
struct Arrays {
  const float *value, *gradient;
  float* new_value;
  const float* slot[Slots + 1];  // no array has no elements
  float* new_slot[Slots + 1];
};

template <int Slots, class F>
void run(const F& formula, const Arrays<Slots>& a, const Numbers& now, const Stretch& stretch) {
  parallel_for(stretch.end - stretch.begin, 4 * (3 + 2 * int64_t{Slots}), [=](int64_t begin, int64_t end) {
    for_each_vec(end - begin, [=]<class V>(V, int64_t k) {
      const int64_t i = stretch.begin + begin + k;
      V value = load<V>(a.value + i), gradient = load<V>(a.gradient + i);
      V slot[Slots + 1] = {};
      if constexpr (F::traits.of_sums) gradient = gradient / now.count;
      for (int s = 0; s < Slots; ++s) slot[s] = load<V>(a.slot[s] + i);
      formula.template update<V>(value, gradient, slot, now, Math{});
      store(a.new_value + i, value);
      for (int s = 0; s < Slots; ++s) store(a.new_slot[s] + i, slot[s]);
    });
  });
}

template <int Slots, class F>
void run_all(const F& formula, const Args& args, Numbers now, std::span<const Stretch> stretches) {
  Arrays<Slots> arrays{args.in[0].as(), args.in[1].as(), args.out[0].as(), {}, {}};
  for (int s = 0; s < Slots; ++s) {
    arrays.slot[s] = args.in[static_cast<size_t>(3 + s)].as();
    arrays.new_slot[s] = args.out[static_cast<size_t>(1 + s)].as();
  }
  for (const Stretch& stretch : stretches) {
    now.decay = stretch.excluded ? 0 : decay_of(formula);
    now.penalty = stretch.penalty;
    if constexpr (F::traits.adapts) {
      const auto norm = static_cast<size_t>(stretch.norm);
      now.ratio =
          stretch.excluded ? 1 : formula.ratio(args.in[3 + Slots].as()[norm], args.in[4 + Slots].as()[norm], now.count);
    }
    run<Slots>(formula, arrays, now, stretch);
  }
}

/// A program's own update, in pieces of which each has its mean gradients beside it.
void run_custom(const CustomFormula& formula, const Args& args, const Numbers& now, std::span<const Stretch> stretches,
                int64_t step) {
  stand_still(args);
  for (const Stretch& stretch : stretches)
    parallel_for(
        stretch.end - stretch.begin, 4 * (3 + 2 * std::ssize(formula.slot_names())), [&](int64_t begin, int64_t end) {
          std::array<float, 1024> means;
          CustomUpdate update{.options = formula.values, .lr = now.lr, .step = step, .excluded = stretch.excluded};
          update.slots.resize(args.out.size() - 1);
          for (int64_t at = begin; at < end; at += std::ssize(means)) {
            const auto first = static_cast<size_t>(stretch.begin + at);
            const auto count = static_cast<size_t>(std::min(end - at, std::ssize(means)));
            for (size_t i = 0; i < count; ++i) means[i] = args.in[1].as()[first + i] / now.count;
            update.values = {args.out[0].as() + first, count};
            update.gradients = {means.data(), count};
            for (size_t s = 0; s < update.slots.size(); ++s) update.slots[s] = {args.out[1 + s].as() + first, count};
            formula.optimizer->update(update);
          }
        });
}

/// body(std::integral_constant<int, slots>), of which there are `Least` to `Most`.
template <int Least, int Most, class Body>
void with_slots(int slots, Body&& body) {
  if constexpr (Most > Least)
    if (slots < Most) return with_slots<Least, Most - 1>(slots, body);
  body(std::integral_constant<int, Most>{});
}

}  // namespace

Kernel make(const UpdateOp& op, const Signature& signature) {
  return std::visit(
      [&]<class F>(const F& formula) -> Kernel {
        return {.run = [formula, scaled = op.scaled, slots = static_cast<int>(op.slots()),
                        partial = !op.stretches.empty(),
                        stretches = op.stretches_of(signature.in[0].shape.elements())](Stream&, const Args& args) {
          const auto& step = *args.in[2].as<StepState>();
          if (idle(formula, step.step) || (scaled && !(*args.in.back().as() > 0))) return stand_still(args);
          if (partial) stand_still(args);
          Numbers now{.lr = step.lr, .count = divisor(args, scaled)};
          if constexpr (std::same_as<F, CustomFormula>) {
            run_custom(formula, args, now, stretches, static_cast<int64_t>(step.step) + 1);
          } else {
            if constexpr (F::traits.scalars > 0)
              for (int k = 0; k < F::traits.scalars; ++k)
                now.scalar[k] = formula.scalar(k, step.lr, static_cast<double>(step.step) + 1, Math{});
            with_slots<F::traits.slots - F::traits.optional_slots, F::traits.slots>(
                slots,
                [&]<int Slots>(std::integral_constant<int, Slots>) { run_all<Slots>(formula, args, now, stretches); });
          }
        }};
      },
      op.formula);
}

}  // namespace lockstep::cpu
