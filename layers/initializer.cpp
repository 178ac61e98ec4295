#include "layers/initializer.h"

#include <cmath>

namespace lockstep {

namespace {

/// A standard normal cut at two deviations: the first of the element's pairs (Box-Muller) that lies inside.
float truncated_normal(const Random& random, uint64_t element) {
  for (uint64_t attempt = 0;; ++attempt) {
    const auto bits = random.bits(element, attempt);
    const double radius = std::sqrt(-2 * std::log((bits[0] + 1.0) * 0x1p-32));
    const double angle = 2 * 3.14159265358979323846 * bits[1] * 0x1p-32;
    for (double z : {radius * std::cos(angle), radius * std::sin(angle)})
      if (std::abs(z) <= 2) return static_cast<float>(z);
  }
}

}  // namespace

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
    case Kind::HeNormal: {
      // Cutting at two deviations narrows the distribution; 0.8796 is what is left of the deviation (as in Keras).
      const auto deviation = static_cast<float>(std::sqrt(2.0 / static_cast<double>(fan_in)) / 0.87962566103423978);
      for (size_t i = 0; i < data.size(); ++i) data[i] = deviation * truncated_normal(random, i);
      break;
    }
  }
}

}  // namespace lockstep
