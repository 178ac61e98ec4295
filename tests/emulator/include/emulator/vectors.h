// CUDA's short vectors, with its alignments.
#pragma once

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

#define EMULATOR_VECTORS(Type, Name)                                             \
  struct Name##1 {                                                               \
    Type x;                                                                      \
  };                                                                             \
  struct alignas(2 * sizeof(Type)) Name##2 {                                     \
    Type x, y;                                                                   \
  };                                                                             \
  struct Name##3 {                                                               \
    Type x, y, z;                                                                \
  };                                                                             \
  struct alignas(4 * sizeof(Type) > 16 ? 16 : 4 * sizeof(Type)) Name##4 {        \
    Type x, y, z, w;                                                             \
  };                                                                             \
  constexpr Name##1 make_##Name##1(Type x) { return {x}; }                       \
  constexpr Name##2 make_##Name##2(Type x, Type y) { return {x, y}; }            \
  constexpr Name##3 make_##Name##3(Type x, Type y, Type z) { return {x, y, z}; } \
  constexpr Name##4 make_##Name##4(Type x, Type y, Type z, Type w) { return {x, y, z, w}; }

EMULATOR_VECTORS(signed char, char)
EMULATOR_VECTORS(unsigned char, uchar)
EMULATOR_VECTORS(short, short)
EMULATOR_VECTORS(unsigned short, ushort)
EMULATOR_VECTORS(int, int)
EMULATOR_VECTORS(unsigned, uint)
EMULATOR_VECTORS(long long, longlong)
EMULATOR_VECTORS(unsigned long long, ulonglong)
EMULATOR_VECTORS(float, float)
EMULATOR_VECTORS(double, double)
#undef EMULATOR_VECTORS
