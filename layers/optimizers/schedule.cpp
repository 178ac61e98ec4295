#include "layers/optimizers/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace lockstep {

namespace {

/// From `from` to `to` along half a cosine.
double along_cosine(double from, double to, double done) {
  return to + (from - to) / 2 * (1 + std::cos(std::numbers::pi * done));
}

/// How much of its cycle is done at a step, where each cycle is `longer` times as long as the one before it.
double done_of_cycle(double step, double length, double longer) {
  for (; step >= length; length *= longer) step -= length;
  return step / length;
}

double one_cycle(const Schedule& schedule, double lr, double step, double steps) {
  const double first = lr / schedule.div_factor, last = first / schedule.final_div_factor;
  const double top = schedule.pct_start * steps - 1, end = steps - 1;
  if (step <= top) return top > 0 ? along_cosine(first, lr, step / top) : lr;
  return end > top ? along_cosine(lr, last, (step - top) / (end - top)) : last;
}

}  // namespace

std::vector<std::string> Schedule::names() {
  return {"constant", "step", "linear", "cosine", "polynomial", "exponential", "cosine_restarts", "one_cycle"};
}

Schedule Schedule::from_name(const std::string& name) {
  return {.decay = static_cast<Decay>(index_of("schedule", name, names()))};
}

std::string Schedule::name() const { return names()[static_cast<size_t>(decay)]; }

void Schedule::set(const std::string& option, double value) {
  std::vector<std::string> known;
  bool found = false;
  const auto assign = [&]<class T>(std::string_view key, T& to) {
    known.emplace_back(key);
    if (key != option) return;
    found = true;
    const bool from_one = key == "t_mul" || key == "div_factor" || key == "final_div_factor";
    const double least = from_one ? 1 : 0, most = key == "pct_start" ? 1 : 0x1p31;
    if (!(value >= least && value <= most) || (std::is_integral_v<T> && value != std::floor(value)))
      throw InputError("schedule {}: got {} {}, expected a {} from {}{}", name(), key, value,
                       std::is_integral_v<T> ? "whole number" : "number", least, key == "pct_start" ? " to 1" : "");
    to = static_cast<T>(value);
  };
  visit_all(*this, assign);
  if (!found) throw unknown(fmt::format("option of the schedule {}", name()), option, known);
}

bool Schedule::depends_on_steps() const {
  const bool has_length = decay == Decay::exponential || decay == Decay::cosine_restarts;
  return decay != Decay::constant && !(has_length && decay_steps > 0);
}

float Schedule::at(float lr, int64_t step, int64_t steps) const {
  if (step < warmup)
    return static_cast<float>(double{lr} * static_cast<double>(step + 1) / static_cast<double>(warmup));
  const auto now = static_cast<double>(step - warmup), all = static_cast<double>(std::max<int64_t>(steps - warmup, 1));
  const double done = now / all, length = decay_steps > 0 ? static_cast<double>(decay_steps) : all;
  const auto rate = [&]() -> double {
    switch (decay) {
      case Decay::constant:
        return lr;
      case Decay::step:
        return lr * (done < 0.5 ? 1.0 : done < 0.75 ? 0.1 : 0.01);
      case Decay::linear:
        return final_lr + (lr - final_lr) * (1 - done);
      case Decay::cosine:
        return final_lr + (lr - final_lr) * ((1 + std::cos(std::numbers::pi * done)) / 2);
      case Decay::polynomial:
        return final_lr + (lr - final_lr) * std::pow(std::max(1 - done, 0.0), power);
      case Decay::exponential:
        return lr * std::pow(decay_rate, now / length);
      case Decay::cosine_restarts:
        return along_cosine(lr, final_lr, done_of_cycle(now, length, t_mul));
      case Decay::one_cycle:
        return one_cycle(*this, lr, now, all);
    }
    throw Error("no such decay: {}", static_cast<int>(decay));
  };
  return static_cast<float>(rate());
}

}  // namespace lockstep
