#include "layers/base/initializer.h"

#include <cmath>

namespace lockstep {

void Initializer::fill(std::span<float> data, uint64_t seed, uint32_t variable, int64_t first) const {
  const Random random(seed, Purpose::initialise, variable);
  switch (kind) {
    case Kind::constant:
      for (float& x : data) x = constant;
      break;
    case Kind::glorot_uniform: {
      const auto limit = static_cast<float>(std::sqrt(6.0 / static_cast<double>(fan_in + fan_out)));
      for (size_t i = 0; i < data.size(); ++i) {
        const uint64_t at = static_cast<uint64_t>(first) + i;
        data[i] = limit * (2 * to_uniform(random.bits(0, at / 4)[at % 4]) - 1);
      }
      break;
    }
  }
}

}  // namespace lockstep
