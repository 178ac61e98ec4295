// Eight floats at a time, in the compilers' portable vector types. Kernels are written once as templates over V, which
// is Vec in the body of a loop and float in its tail: the same operations in the same order, so the same bits.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace lockstep::cpu {

using Vec = float __attribute__((vector_size(32)));
using IntVec = int32_t __attribute__((vector_size(32)));
using ShortVec = int16_t __attribute__((vector_size(16)));
using ByteVec = uint8_t __attribute__((vector_size(8)));

/// Elements in a V, and integers beside them.
template <class V>
inline constexpr int64_t width = sizeof(V) / sizeof(float);
template <class V>
using IntOf = std::conditional_t<std::is_same_v<V, Vec>, IntVec, int32_t>;

template <class V>
[[gnu::always_inline]] inline V load(const float* from) {
  V v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
template <class V>
[[gnu::always_inline]] inline void store(float* to, V v) {
  std::memcpy(to, &v, sizeof v);
}
template <class V>
[[gnu::always_inline]] inline V broadcast(float x) {
  if constexpr (std::is_same_v<V, float>)
    return x;
  else
    return x - V{};  // of any width; -0 stays -0
}
template <class V>
[[gnu::always_inline]] inline IntOf<V> broadcast_int(int32_t x) {
  if constexpr (std::is_same_v<V, Vec>)
    return IntVec{x, x, x, x, x, x, x, x};
  else
    return x;
}
/// Integers in bytes: the caller knows that they fit.
template <class V>
[[gnu::always_inline]] inline IntOf<V> load_bytes(const uint8_t* from) {
  if constexpr (std::is_same_v<V, Vec>) {
    ByteVec bytes;
    std::memcpy(&bytes, from, sizeof bytes);
    // In two steps: compilers take a direct conversion apart into eight scalar ones.
    return __builtin_convertvector(__builtin_convertvector(bytes, ShortVec), IntVec);
  } else {
    return *from;
  }
}
template <class V>
[[gnu::always_inline]] inline void store_bytes(uint8_t* to, IntOf<V> v) {
  if constexpr (std::is_same_v<V, Vec>) {
    const ByteVec bytes = __builtin_convertvector(__builtin_convertvector(v, ShortVec), ByteVec);
    std::memcpy(to, &bytes, sizeof bytes);
  } else {
    *to = static_cast<uint8_t>(v);
  }
}
/// max(v, 0); NaN stays NaN.
template <class V>
[[gnu::always_inline]] inline V relu(V v) {
  const V zero = broadcast<V>(0);
  return v < zero ? zero : v;
}

/// min(max(v, 0), top); NaN stays NaN.
template <class V>
[[gnu::always_inline]] inline V relu(V v, V top) {
  const V low = relu(v);
  return top < low ? top : low;
}

/// Calls body(V{}, i) for i from 0 to n: eight elements at a time while they fit, then one by one.
template <class Body>
[[gnu::always_inline]] inline void for_each_vec(int64_t n, Body&& body) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) body(Vec{}, i);
  for (; i < n; ++i) body(float{}, i);
}

/// The same for the `channels` of one pixel, where elements up to `room` (>= channels) may be read, and may be written
/// because they are computed later, in ascending order: a vector may hang over into the next pixel.
template <class Body>
[[gnu::always_inline]] inline void for_each_overhanging(int64_t channels, int64_t room, Body&& body) {
  int64_t c = 0;
  for (; c < channels && c + 8 <= room; c += 8) body(Vec{}, c);
  for (; c < channels; ++c) body(float{}, c);
}

}  // namespace lockstep::cpu
