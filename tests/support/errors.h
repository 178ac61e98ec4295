// Helpers of tests of errors: what a call throws, and whether its text says what it must. Any thread.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "core/error.h"

namespace lockstep::test {

/// The message of the `Exception` that `call` throws; empty where it throws nothing, which no expected message equals
/// and `says` finds nothing in. Others pass through and fail the test.
template <class Exception = InputError, class Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const Exception& error) {
    return error.what();
  }
  return "";
}

/// All of `parts` occur in `text`, which is not empty.
inline ::testing::AssertionResult says(const std::string& text, std::initializer_list<std::string> parts) {
  if (text.empty()) return ::testing::AssertionFailure() << "nothing was said";
  for (const auto& part : parts)
    if (text.find(part) == std::string::npos)
      return ::testing::AssertionFailure() << "'" << text << "' does not say '" << part << "'";
  return ::testing::AssertionSuccess();
}

}  // namespace lockstep::test
