#include "layers/optimizers/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "core/error.h"

namespace lockstep {

namespace {
const std::vector<std::string> names{"constant", "linear", "cosine"};
}

Schedule Schedule::from_name(const std::string& name) {
  const auto found = std::ranges::find(names, name);
  if (found == names.end()) throw unknown("schedule", name, names);
  return {.decay = static_cast<Decay>(found - names.begin())};
}

std::string Schedule::name() const { return names[static_cast<size_t>(decay)]; }

float Schedule::at(float lr, int64_t step, int64_t steps) const {
  if (step < warmup) return static_cast<float>(double{lr} * static_cast<double>(step + 1) / static_cast<double>(warmup));
  if (decay == Decay::constant) return lr;
  const double done = static_cast<double>(step - warmup) / static_cast<double>(std::max<int64_t>(steps - warmup, 1));
  const double share = decay == Decay::linear ? 1 - done : (1 + std::cos(std::numbers::pi * done)) / 2;
  return static_cast<float>(lr * share);
}

}  // namespace lockstep
