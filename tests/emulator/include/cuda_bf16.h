// 16-bit floats with the exponent of 32-bit ones. Conversions round to nearest, ties to even; NaN becomes 0x7FFF as on
// the device.
#pragma once

#include "cuda_runtime.h"

struct alignas(2) __nv_bfloat16_raw {
  unsigned short x;
};

struct alignas(2) __nv_bfloat16 {
  __nv_bfloat16() = default;
  __nv_bfloat16(float value);
  constexpr __nv_bfloat16(__nv_bfloat16_raw raw) : bits(raw.x) {}
  operator float() const;
  constexpr operator __nv_bfloat16_raw() const { return {bits}; }

  unsigned short bits;
};
using nv_bfloat16 = __nv_bfloat16;

struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};
using nv_bfloat162 = __nv_bfloat162;

inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 b) { return b.bits; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return __nv_bfloat16_raw{bits}; }

inline float __bfloat162float(__nv_bfloat16 b) { return __uint_as_float(unsigned{b.bits} << 16); }
inline __nv_bfloat16 __float2bfloat16_rn(float value) {
  const unsigned bits = __float_as_uint(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return __ushort_as_bfloat16(0x7FFF);
  // A carry into the exponent is right: what rounds up past the largest number becomes infinite.
  return __ushort_as_bfloat16(static_cast<unsigned short>((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16));
}
inline __nv_bfloat16 __float2bfloat16(float value) { return __float2bfloat16_rn(value); }

inline __nv_bfloat16::__nv_bfloat16(float value) : __nv_bfloat16(__float2bfloat16_rn(value)) {}
inline __nv_bfloat16::operator float() const { return __bfloat162float(*this); }

inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
  return {__float2bfloat16_rn(x), __float2bfloat16_rn(y)};
}
inline float2 __bfloat1622float2(__nv_bfloat162 v) { return {__bfloat162float(v.x), __bfloat162float(v.y)}; }
inline bool __hisnan(__nv_bfloat16 b) { return (b.bits & 0x7FFF) > 0x7F80; }
