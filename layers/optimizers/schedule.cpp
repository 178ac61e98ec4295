#include "layers/optimizers/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "core/error.h"

namespace lockstep {

namespace {
const std::vector<std::string> names{"constant", "step", "linear", "cosine"};
}

Schedule Schedule::from_name(const std::string& name) {
  return {.decay = static_cast<Decay>(index_of("schedule", name, names))};
}

std::string Schedule::name() const { return names[static_cast<size_t>(decay)]; }

float Schedule::at(float lr, int64_t step, int64_t steps) const {
  if (step < warmup)
    return static_cast<float>(double{lr} * static_cast<double>(step + 1) / static_cast<double>(warmup));
  const double done = static_cast<double>(step - warmup) / static_cast<double>(std::max<int64_t>(steps - warmup, 1));
  const auto share = [&] {
    switch (decay) {
      case Decay::constant:
        return 1.0;
      case Decay::step:
        return done < 0.5 ? 1.0 : done < 0.75 ? 0.1 : 0.01;
      case Decay::linear:
        return 1 - done;
      case Decay::cosine:
        return (1 + std::cos(std::numbers::pi * done)) / 2;
    }
    throw Error("no such decay: {}", static_cast<int>(decay));
  };
  return static_cast<float>(lr * share());
}

}  // namespace lockstep
