#include "layers/initializer.h"

#include <cmath>

namespace lockstep {

void Initializer::fill(std::span<float> data, uint64_t seed, uint32_t variable) const {
  const Random random(seed, Purpose::Initialise, variable);
  switch (kind) {
    case Kind::Constant:
      for (float& x : data) x = constant;
      break;
    case Kind::GlorotUniform: {
      const auto limit = static_cast<float>(std::sqrt(6.0 / static_cast<double>(fan_in + fan_out)));
      for (size_t i = 0; i < data.size(); ++i) data[i] = limit * (2 * to_uniform(random.bits(0, i / 4)[i % 4]) - 1);
      break;
    }
  }
}

}  // namespace lockstep
