// The backend under test (launch/testing/test_backend.h); without a GPU all tests of a program that needs one are
// skipped, and say why.
#pragma once

#include <gtest/gtest.h>

#include "launch/testing/test_backend.h"

namespace lockstep::test {

/// Skips every test of a program that needs a GPU where there is none.
class NeedsDevice final : public testing::Environment {
 public:
  void SetUp() override {
    if (on_cuda() && cuda_backend().status().devices == 0) GTEST_SKIP() << "no GPU (" << gpu_status() << ")";
  }
};
inline testing::Environment* const needs_device = testing::AddGlobalTestEnvironment(new NeedsDevice);

}  // namespace lockstep::test
