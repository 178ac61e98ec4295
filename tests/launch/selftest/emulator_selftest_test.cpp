// The self-test on the emulated device, which ranks share: what it asks of a GPU, it gets there.
#include <gtest/gtest.h>

#include "launch/selftest/selftest.h"

namespace lockstep::test {
namespace {

TEST(SelftestOnDevices, Passes) {
  Runtime runtime;
  const SelftestReport report =
      selftest(runtime, {.ranks = 2, .backend = BackendChoice::cuda, .comm = CommChoice::local});
  for (const SelfCheck& one : report.checks)
    EXPECT_TRUE(one.run && (one.fault.empty() || one.name == "rates")) << report.text();  // no link is emulated
  EXPECT_NE(report.checks.at(4).seen.find("fp16"), std::string::npos) << report.text();
}

}  // namespace
}  // namespace lockstep::test
