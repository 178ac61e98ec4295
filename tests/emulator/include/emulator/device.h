// Qualifiers, built-in variables, barriers and warp operations of device code. A barrier names its place in the source
// when threads do not meet there.
#pragma once

#include <cstring>
#include <source_location>
#include <type_traits>

#include "emulator/vectors.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
// In a function that is `static thread_local`: one block at a time runs on a host thread.
#define __shared__ thread_local

extern constinit thread_local uint3 threadIdx, blockIdx;
extern constinit thread_local dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace emulator {

using Where = std::source_location;

/// Returns when all threads of the block have come here.
void block_barrier(const Where& where);
/// Returns when all threads of the warp have come here: what each of them gave, `bytes` each, until the next one.
const void* warp_barrier(unsigned mask, const void* value, size_t bytes, const Where& where);
/// This thread's index in its warp.
unsigned lane();

inline constexpr size_t most_exchanged = 16;

template <class T, class From>
T shuffle(unsigned mask, const T& value, int width, const Where& where, From from) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= most_exchanged);
  const auto* all = static_cast<const char*>(warp_barrier(mask, &value, sizeof(T), where));
  const int own = static_cast<int>(lane()), first = own / width * width;
  int source = from(own - first);
  if (source < 0 || source >= width) source = own - first;
  T result;
  std::memcpy(&result, all + static_cast<size_t>(first + source) * sizeof(T), sizeof(T));
  return result;
}

}  // namespace emulator

inline void __syncthreads(const emulator::Where& where = emulator::Where::current()) { emulator::block_barrier(where); }
inline void __syncwarp(unsigned mask = 0xFFFFFFFFU, const emulator::Where& where = emulator::Where::current()) {
  emulator::warp_barrier(mask, nullptr, 0, where);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = warpSize,
              const emulator::Where& where = emulator::Where::current()) {
  return emulator::shuffle(mask, value, width, where, [=](int) { return from & (width - 1); });
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = warpSize,
                 const emulator::Where& where = emulator::Where::current()) {
  return emulator::shuffle(mask, value, width, where, [=](int own) { return own - static_cast<int>(by); });
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = warpSize,
                   const emulator::Where& where = emulator::Where::current()) {
  return emulator::shuffle(mask, value, width, where, [=](int own) { return own + static_cast<int>(by); });
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int with, int width = warpSize,
                  const emulator::Where& where = emulator::Where::current()) {
  return emulator::shuffle(mask, value, width, where, [=](int own) { return own ^ with; });
}

inline unsigned __ballot_sync(unsigned mask, int predicate, const emulator::Where& where = emulator::Where::current()) {
  const auto* all = static_cast<const int*>(emulator::warp_barrier(mask, &predicate, sizeof(int), where));
  unsigned bits = 0;
  for (unsigned i = 0; i < 32; ++i) bits |= (all[i] != 0 ? 1U : 0U) << i;
  return bits;
}
inline int __any_sync(unsigned mask, int predicate, const emulator::Where& where = emulator::Where::current()) {
  return __ballot_sync(mask, predicate, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate, const emulator::Where& where = emulator::Where::current()) {
  return __ballot_sync(mask, predicate, where) == 0xFFFFFFFFU;
}
