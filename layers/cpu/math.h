// Exponentials whose bits depend on their own argument alone, never on the position in an array.
#pragma once

#include <bit>
#include <cmath>

#include "layers/cpu/vec.h"

namespace lockstep::cpu {

/// exp(x) for x <= 88, relative error below 2e-7; 0 below -87 (where a float would be subnormal); NaN stays NaN.
/// x = n ln 2 + r with |r| <= ln(2) / 2, and exp(r) by its Taylor series to degree 7 (the rest is below 6e-9).
template <class V>
[[gnu::always_inline]] inline V exponential(V x) {
  using Int = IntOf<V>;
  // Adding 1.5 * 2^23 rounds to an integer, which is then in the low bits.
  constexpr float rounder = 0x1.8p23F;
  const V shifted = x * broadcast<V>(0x1.715476p+0F) + broadcast<V>(rounder);
  const V n = shifted - broadcast<V>(rounder);
  // ln 2 in two parts, the first with so few bits that n times it is exact.
  const V r = (x - n * broadcast<V>(0x1.62e4p-1F)) - n * broadcast<V>(0x1.7f7d1cp-20F);
  V p = broadcast<V>(1.0F / 5040);
  for (float coefficient : {1.0F / 720, 1.0F / 120, 1.0F / 24, 1.0F / 6, 0.5F, 1.0F, 1.0F})
    p = p * r + broadcast<V>(coefficient);
  // p is within [0.7, 1.5], so adding n to its exponent gives p * 2^n for every n in reach.
  Int bits, power;
  std::memcpy(&bits, &p, sizeof bits);
  std::memcpy(&power, &shifted, sizeof power);
  V scaled;
  if constexpr (std::is_same_v<V, Vec>) {
    bits += power << 23;
  } else {
    bits = static_cast<int32_t>(static_cast<uint32_t>(bits) + (static_cast<uint32_t>(power) << 23));
  }
  std::memcpy(&scaled, &bits, sizeof scaled);
  const V tiny = x < broadcast<V>(-87.0F) ? broadcast<V>(0) : scaled;
  return x == x ? tiny : x;
}

}  // namespace lockstep::cpu
