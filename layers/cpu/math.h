// Exponentials, and what is made of them, whose bits depend on their own argument alone, never on the position in an
// array.
#pragma once

#include <bit>
#include <cmath>

#include "layers/cpu/vec.h"

namespace lockstep::cpu {

/// x = n ln 2 + r with |r| <= ln(2) / 2, n a whole number.
template <class V>
struct Reduced {
  V r, shifted;  // n is in the low bits of `shifted`

  [[gnu::always_inline]] explicit Reduced(V x) {
    // Adding 1.5 * 2^23 rounds to an integer, which is then in the low bits.
    constexpr float rounder = 0x1.8p23F;
    shifted = x * broadcast<V>(0x1.715476p+0F) + broadcast<V>(rounder);
    const V n = shifted - broadcast<V>(rounder);
    // ln 2 in two parts, the first with so few bits that n times it is exact.
    r = (x - n * broadcast<V>(0x1.62e4p-1F)) - n * broadcast<V>(0x1.7f7d1cp-20F);
  }
  /// p * 2^n for a p within [0.7, 1.5], by adding n to its exponent.
  [[gnu::always_inline]] V scale(V p) const {
    IntOf<V> bits, power;
    std::memcpy(&bits, &p, sizeof bits);
    std::memcpy(&power, &shifted, sizeof power);
    if constexpr (std::is_same_v<V, Vec>)
      bits += power << 23;
    else
      bits = static_cast<int32_t>(static_cast<uint32_t>(bits) + (static_cast<uint32_t>(power) << 23));
    V scaled;
    std::memcpy(&scaled, &bits, sizeof scaled);
    return scaled;
  }
};

/// exp(x) for x <= 88, relative error below 2e-7; 0 below -87 (where a float would be subnormal); NaN stays NaN.
/// exp(r) by its Taylor series to degree 7 (the rest is below 6e-9).
template <class V>
[[gnu::always_inline]] inline V exponential(V x) {
  const Reduced<V> reduced(x);
  V p = broadcast<V>(1.0F / 5040);
  for (float coefficient : {1.0F / 720, 1.0F / 120, 1.0F / 24, 1.0F / 6, 0.5F, 1.0F, 1.0F})
    p = p * reduced.r + broadcast<V>(coefficient);
  const V tiny = x < broadcast<V>(-87.0F) ? broadcast<V>(0) : reduced.scale(p);
  return x == x ? tiny : x;
}

/// exp(x) - 1 for x <= 0, relative error below 3e-7; -1 below -87; NaN stays NaN. With m = exp(r) - 1, again by its
/// series, it is 2^n m + (2^n - 1): nothing cancels near 0, where n is 0.
template <class V>
[[gnu::always_inline]] inline V exponential_minus_1(V x) {
  const Reduced<V> reduced(x);
  const V one = broadcast<V>(1);
  V p = broadcast<V>(1.0F / 40320);
  for (float coefficient : {1.0F / 5040, 1.0F / 720, 1.0F / 120, 1.0F / 24, 1.0F / 6, 0.5F})
    p = p * reduced.r + broadcast<V>(coefficient);
  const V m = reduced.r + reduced.r * reduced.r * p, power = reduced.scale(one);
  const V result = x < broadcast<V>(-87.0F) ? -one : power * m + (power - one);
  return x == x ? result : x;
}

template <class V>
[[gnu::always_inline]] inline V absolute(V x) {
  return x < broadcast<V>(0) ? -x : x;
}

/// tanh(x), relative error below 5e-7; NaN stays NaN.
template <class V>
[[gnu::always_inline]] inline V hyperbolic_tangent(V x) {
  const V m = exponential_minus_1(broadcast<V>(-2) * absolute(x));
  const V t = -m / (broadcast<V>(2) + m);
  return x < broadcast<V>(0) ? -t : t;
}

/// s = 1 / (1 + exp(-x)) and 1 - s, each with a relative error below 5e-7 down to 2e-38, where it becomes 0.
template <class V>
struct Logistic {
  V s, rest;

  [[gnu::always_inline]] explicit Logistic(V x) {
    const V e = exponential(-absolute(x)), above = broadcast<V>(1) / (broadcast<V>(1) + e), below = e * above;
    s = x < broadcast<V>(0) ? below : above;
    rest = x < broadcast<V>(0) ? above : below;
  }
};

/// The standard normal distribution: Phi(x), to 2e-7 absolutely, and its density, relative error below (1 + x^2) 3e-7.
/// Phi(-|x|) = exp(-x^2 / 2) t(1 / (1 + 0.21 |x|)), t a polynomial of degree 9 without constant term that was fitted to
/// the smallest relative error over |x| <= 13.3, 1.3e-8; beyond, the density is 0.
template <class V>
struct Normal {
  V distribution, density;

  [[gnu::always_inline]] explicit Normal(V x) {
    const V e = exponential(broadcast<V>(-0.5F) * x * x);
    const V t = broadcast<V>(1) / (broadcast<V>(1) + broadcast<V>(0.21F) * absolute(x));
    V p = broadcast<V>(-0x1.27b028p-4F);
    for (float coefficient : {0x1.25174ap-2F, -0x1.57df68p-2F, 0x1.6c7da2p-2F, -0x1.93f430p-4F, 0x1.0409acp-3F,
                              0x1.191374p-4F, 0x1.5ccb52p-4F, 0x1.56dc2cp-4F, 0.0F})
      p = p * t + broadcast<V>(coefficient);
    const V tail = e * p;
    distribution = x < broadcast<V>(0) ? tail : broadcast<V>(1) - tail;
    density = e * broadcast<V>(0x1.988454p-2F);  // 1 / sqrt(2 pi)
  }
};

}  // namespace lockstep::cpu
