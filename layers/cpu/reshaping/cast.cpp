#include "layers/reshaping/cast.h"

#include <bit>

#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"

namespace lockstep::cpu {

namespace {

struct Bfloat {
  uint16_t bits;
};

float to_float(float x) { return x; }
float to_float(_Float16 x) { return static_cast<float>(x); }
float to_float(Bfloat x) { return std::bit_cast<float>(uint32_t{x.bits} << 16); }

template <class T>
T from_float(float x) {
  return static_cast<T>(x);
}
/// The upper half, rounded to nearest even; a NaN is made quiet, so that it cannot lose the bits that make it one.
template <>
Bfloat from_float<Bfloat>(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  const uint32_t rounded = x != x ? bits | 0x400000 : bits + 0x7FFF + ((bits >> 16) & 1);
  return {static_cast<uint16_t>(rounded >> 16)};
}

template <class Body>
void with_float(DType dtype, Body&& body) {
  if (dtype == DType::f32) return body(float{});
  if (dtype == DType::f16) return body(_Float16{});
  body(Bfloat{});
}

}  // namespace

Kernel make(const CastOp&, const Signature& signature) {
  const Type &x = signature.in[0], &y = signature.out[0];
  return {.run = [n = x.shape.elements(), from = x.dtype, to = y.dtype](Stream&, const Args& args) {
    with_float(from, [&]<class From>(From) {
      with_float(to, [&]<class To>(To) {
        const From* in = args.in[0].as<From>();
        To* out = args.out[0].as<To>();
        parallel_for(n, sizeof(From) + sizeof(To), [=](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) out[i] = from_float<To>(to_float(in[i]));
        });
      });
    });
  }};
}

}  // namespace lockstep::cpu
