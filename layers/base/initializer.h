// How a parameter starts. Values come from the counter-based generator, so they are equal for every number of ranks.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/random.h"
#include "core/shape.h"

namespace lockstep {

struct Initializer {
  enum class Kind : unsigned char { constant, glorot_uniform };
  Kind kind = Kind::constant;
  float constant = 0;
  int64_t fan_in = 1, fan_out = 1;  // as Keras counts them: inputs, or outputs, of one unit times the kernel's area

  /// Fills `data`, the variable's elements from `first` on; `variable` is its place in the model, `seed` the run's.
  void fill(std::span<float> data, uint64_t seed, uint32_t variable, int64_t first = 0) const;
};

constexpr Initializer zeros{};
constexpr Initializer ones{Initializer::Kind::constant, 1};
/// Uniform in ±sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, AISTATS 2010, eq. 16).
constexpr Initializer glorot_uniform(int64_t fan_in, int64_t fan_out) {
  return {Initializer::Kind::glorot_uniform, 0, fan_in, fan_out};
}

}  // namespace lockstep
