// Eight floats at a time, in the compilers' portable vector types. Kernels are written once as templates over V, which
// is Vec in the body of a loop and float in its tail: the same operations in the same order, so the same bits. No
// vector reaches beyond the elements that it is for.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace lockstep::cpu {

using Vec = float __attribute__((vector_size(32)));
using IntVec = int32_t __attribute__((vector_size(32)));
using ShortVec = int16_t __attribute__((vector_size(16)));
using ByteVec = uint8_t __attribute__((vector_size(8)));
/// Four, for few channels.
using HalfVec = float __attribute__((vector_size(16)));
using IntHalfVec = int32_t __attribute__((vector_size(16)));
using ShortHalfVec = int16_t __attribute__((vector_size(8)));
using ByteHalfVec = uint8_t __attribute__((vector_size(4)));

/// Elements in a V, and integers beside them.
template <class V>
inline constexpr int64_t width = sizeof(V) / sizeof(float);
template <class V>
struct Integers {
  using Ints = int32_t;
};
template <>
struct Integers<Vec> {
  using Ints = IntVec;
  using Shorts = ShortVec;
  using Bytes = ByteVec;
};
template <>
struct Integers<HalfVec> {
  using Ints = IntHalfVec;
  using Shorts = ShortHalfVec;
  using Bytes = ByteHalfVec;
};
template <class V>
using IntOf = typename Integers<V>::Ints;

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
  if constexpr (std::is_same_v<V, float>)
    return x;
  else
    return x + IntOf<V>{};
}
/// Integers in bytes: the caller knows that they fit.
template <class V>
[[gnu::always_inline]] inline IntOf<V> load_bytes(const uint8_t* from) {
  if constexpr (std::is_same_v<V, float>) {
    return *from;
  } else {
    typename Integers<V>::Bytes bytes;
    std::memcpy(&bytes, from, sizeof bytes);
    // In two steps: compilers take a direct conversion apart into eight scalar ones.
    return __builtin_convertvector(__builtin_convertvector(bytes, typename Integers<V>::Shorts), IntOf<V>);
  }
}
template <class V>
[[gnu::always_inline]] inline void store_bytes(uint8_t* to, IntOf<V> v) {
  if constexpr (std::is_same_v<V, float>) {
    *to = static_cast<uint8_t>(v);
  } else {
    using Bytes = typename Integers<V>::Bytes;
    const Bytes bytes = __builtin_convertvector(__builtin_convertvector(v, typename Integers<V>::Shorts), Bytes);
    std::memcpy(to, &bytes, sizeof bytes);
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

/// The same, without a tail where n >= 4: the last vector ends with the last element, so that some elements may be
/// computed twice. For bodies that don't read what they write.
template <class Body>
[[gnu::always_inline]] inline void for_each_overlapping(int64_t n, Body&& body) {
  const auto cover = [&]<class V>(V) __attribute__((always_inline)) {
    int64_t i = 0;
    for (; i + width<V> <= n; i += width<V>) body(V{}, i);
    if (i < n) body(V{}, n - width<V>);
  };
  if (n >= width<Vec>)
    cover(Vec{});
  else if (n >= width<HalfVec>)
    cover(HalfVec{});
  else
    cover(float{});
}

}  // namespace lockstep::cpu
