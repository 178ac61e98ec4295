// The checks of operators (launch/testing/op_check.h) as GoogleTest's assertions; comparisons so that NaN fails.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "launch/testing/op_check.h"
#include "tests/support/errors.h"
#include "tests/support/test_backend.h"

namespace lockstep::test {

/// |got - expected| <= absolute + relative * |expected| for all elements; NaN on either side fails.
template <class Expected>
testing::AssertionResult close(const Buffer& got, const Expected& expected, double absolute, double relative = 0) {
  const auto values = got.as();
  if (values.size() != std::size(expected))
    return testing::AssertionFailure() << values.size() << " elements, expected " << std::size(expected);
  for (size_t i = 0; i < values.size(); ++i) {
    const double want = std::data(expected)[i];
    const double difference = std::abs(values[i] - want);
    if (!(difference <= absolute + relative * std::abs(want)))
      return testing::AssertionFailure() << "element " << i << " of " << got.type().str() << " is " << values[i]
                                         << ", expected " << want;
  }
  return testing::AssertionSuccess();
}
inline testing::AssertionResult close(const Buffer& got, const Buffer& expected, double absolute, double relative = 0) {
  return close(got, expected.as(), absolute, relative);
}

inline testing::AssertionResult same_bits(const Buffer& a, const Buffer& b) {
  if (!(a.type() == b.type())) return testing::AssertionFailure() << a.type().str() << " is not " << b.type().str();
  const auto x = a.as<unsigned char>(), y = b.as<unsigned char>();
  for (size_t i = 0; i < x.size(); ++i)
    if (x[i] != y[i])
      return testing::AssertionFailure() << "bytes differ at element " << i / size_of(a.type().dtype) << " of "
                                         << a.type().str();
  return testing::AssertionSuccess();
}

/// See gradient_fault.
inline testing::AssertionResult gradient_matches(std::shared_ptr<const Op> op, const std::vector<Buffer>& in,
                                                 const std::vector<size_t>& inputs, GradientCheck check = {}) {
  const std::string fault = gradient_fault(std::move(op), in, inputs, check);
  return fault.empty() ? testing::AssertionSuccess() : testing::AssertionFailure() << fault;
}

}  // namespace lockstep::test
