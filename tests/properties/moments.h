// Means and variances in double, for the properties of norms.
#pragma once

#include "tests/properties/case.h"

namespace lockstep::test {

/// Means and biased variances by group of elements.
struct Moments {
  /// group(i): which of `groups` element i belongs to; below 0: none.
  template <class Group>
  Moments(const std::vector<double>& x, size_t groups, Group group) : mean(groups), variance(groups), count(groups) {
    const auto each = [&](auto body) {
      for (size_t i = 0; i < x.size(); ++i)
        if (const int64_t g = group(i); g >= 0) body(static_cast<size_t>(g), x[i]);
    };
    each([&](size_t g, double v) {
      mean[g] += v;
      ++count[g];
    });
    for (size_t g = 0; g < groups; ++g) mean[g] /= std::max(count[g], 1.0);
    each([&](size_t g, double v) { variance[g] += (v - mean[g]) * (v - mean[g]); });
    for (size_t g = 0; g < groups; ++g) variance[g] /= std::max(count[g], 1.0);
  }
  double inverse(size_t g, float epsilon) const { return 1 / std::sqrt(variance[g] + double{epsilon}); }

  std::vector<double> mean, variance, count;
};

}  // namespace lockstep::test
