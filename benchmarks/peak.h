// The most single-precision operations a second that a core does: multiply-adds of registers. Any thread.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <chrono>

namespace lockstep {

namespace detail {

inline constexpr int chains = 12;  // more than a core has under way at once

[[gnu::target("avx512f")]] inline float multiply_add_512(int64_t rounds, float seed) {
  __m512 sum[chains];
  for (int i = 0; i < chains; ++i) sum[i] = _mm512_set1_ps(seed * static_cast<float>(i));
  const __m512 a = _mm512_set1_ps(0.999F), b = _mm512_set1_ps(0.001F);
  for (int64_t round = 0; round < rounds; ++round)
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) sum[i] = _mm512_fmadd_ps(sum[i], a, b);
  for (int i = 1; i < chains; ++i) sum[0] = _mm512_add_ps(sum[0], sum[i]);
  return _mm512_cvtss_f32(sum[0]);
}

[[gnu::target("avx2,fma")]] inline float multiply_add_256(int64_t rounds, float seed) {
  __m256 sum[chains];
  for (int i = 0; i < chains; ++i) sum[i] = _mm256_set1_ps(seed * static_cast<float>(i));
  const __m256 a = _mm256_set1_ps(0.999F), b = _mm256_set1_ps(0.001F);
  for (int64_t round = 0; round < rounds; ++round)
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) sum[i] = _mm256_fmadd_ps(sum[i], a, b);
  for (int i = 1; i < chains; ++i) sum[0] = _mm256_add_ps(sum[0], sum[i]);
  return _mm256_cvtss_f32(sum[0]);
}

}  // namespace detail

/// Floating-point operations a second of the calling thread, two a multiply-add: the best of five spells.
inline double peak_flops() {
  const bool wide = __builtin_cpu_supports("avx512f");
  constexpr int64_t rounds = 2'000'000;
  double best = 0;
  for (int spell = 0; spell < 5; ++spell) {
    const auto start = std::chrono::steady_clock::now();
    volatile float used =
        (wide ? detail::multiply_add_512 : detail::multiply_add_256)(rounds, 1e-3F * static_cast<float>(1 + spell));
    static_cast<void>(used);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, 2.0 * detail::chains * (wide ? 16 : 8) * rounds / seconds.count());
  }
  return best;
}

}  // namespace lockstep
