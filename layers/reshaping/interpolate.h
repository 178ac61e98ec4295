// Which inputs an output of UpSampling2D lies between, as placement rules and the CPU's kernels ask; the
// GPU's kernel computes the same for itself. Any thread.
#pragma once

#include <cstdint>

#include "layers/reshaping/up_sample.h"

namespace lockstep {

/// An output is (1 - share) * input[low] + share * input[high].
struct Tap {
  int64_t low, high;
  float share;
};

/// Of output i, in a direction of `length` inputs with `factor` outputs each.
inline Tap tap(int64_t factor, int64_t length, Interpolation interpolation, int64_t i) {
  if (interpolation == Interpolation::nearest) return {i / factor, i / factor, 0};
  const int64_t place = 2 * i + 1 - factor;  // (i + 0.5) / factor - 0.5, in parts of 1 / (2 factor)
  const int64_t low = place / (2 * factor);
  if (place <= 0) return {0, 0, 0};
  if (low + 1 >= length) return {length - 1, length - 1, 0};
  return {low, low + 1, static_cast<float>(place - low * 2 * factor) / static_cast<float>(2 * factor)};
}

/// What output i takes of input h.
inline float taken(const Tap& tap, int64_t h) {
  return (tap.low == h ? 1 - tap.share : 0.0F) + (tap.high == h ? tap.share : 0.0F);
}

/// The outputs [begin, end) that may take something of input h, where outputs [begin, end) are looked at.
struct Takers {
  int64_t begin, end;
};
inline Takers takers(int64_t factor, Interpolation interpolation, int64_t h, int64_t begin, int64_t end) {
  const bool nearest = interpolation == Interpolation::nearest;
  const int64_t first = nearest ? factor * h : factor * (h - 1) + factor / 2;
  const int64_t last = nearest ? factor * (h + 1) : factor * (h + 1) + factor / 2;
  return {first > begin ? first : begin, last < end ? last : end};
}

}  // namespace lockstep
