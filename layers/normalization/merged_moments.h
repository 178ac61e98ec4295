// The formula of MergeMomentsOp, written once for all backends. Any thread.
#pragma once

#include "layers/normalization/moments.h"

namespace lockstep {

/// In double; the order of `a` and `b` does not change a bit.
constexpr Moments merged(const Moments& a, const Moments& b) {
  const double of_a = double{a.count}, of_b = double{b.count}, count = of_a + of_b;
  const double mean = count > 0 ? (of_a * double{a.mean} + of_b * double{b.mean}) / count : 0;
  const double apart = double{b.mean} - double{a.mean};
  const double between = count > 0 ? apart * apart * (of_a * of_b / count) : 0;
  return {.count = static_cast<float>(count),
          .mean = static_cast<float>(mean),
          .squares = static_cast<float>(double{a.squares} + double{b.squares} + between)};
}

}  // namespace lockstep
