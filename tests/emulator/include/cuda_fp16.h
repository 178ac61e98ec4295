// 16-bit floats of IEEE 754. Conversions round to nearest, ties to even; NaN becomes 0x7FFF as on the device.
#pragma once

#include "cuda_runtime.h"

struct alignas(2) __half_raw {
  unsigned short x;
};

struct alignas(2) __half {
  __half() = default;
  __half(float value);
  constexpr __half(__half_raw raw) : bits(raw.x) {}
  operator float() const;
  constexpr operator __half_raw() const { return {bits}; }

  unsigned short bits;
};
using half = __half;

struct alignas(4) __half2 {
  __half x, y;
};
using half2 = __half2;

inline unsigned short __half_as_ushort(__half h) { return h.bits; }
inline __half __ushort_as_half(unsigned short bits) { return __half_raw{bits}; }

inline float __half2float(__half h) { return static_cast<float>(std::bit_cast<_Float16>(h.bits)); }
inline __half __float2half_rn(float value) {
  return __ushort_as_half(value != value ? 0x7FFF : std::bit_cast<unsigned short>(static_cast<_Float16>(value)));
}
inline __half __float2half(float value) { return __float2half_rn(value); }

inline __half::__half(float value) : __half(__float2half_rn(value)) {}
inline __half::operator float() const { return __half2float(*this); }

inline __half2 __halves2half2(__half x, __half y) { return {x, y}; }
inline __half2 __floats2half2_rn(float x, float y) { return {__float2half_rn(x), __float2half_rn(y)}; }
inline __half2 __float22half2_rn(float2 v) { return __floats2half2_rn(v.x, v.y); }
inline float2 __half22float2(__half2 v) { return {__half2float(v.x), __half2float(v.y)}; }
inline bool __hisnan(__half h) { return (h.bits & 0x7FFF) > 0x7C00; }
