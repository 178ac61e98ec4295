// The self-test: it passes where all is well, and finds each fault that is planted between a rank and its communicator.
#include "launch/selftest/selftest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "parallel/comm/forwarding.h"
#include "tests/support/paths.h"
#include "tests/support/run_command.h"
#include "tests/support/temporary_folder.h"

namespace lockstep::test {
namespace {

/// Changes what a rank gets of others, from its `from`-th exchange on. Splits have the fault too.
class FaultyComm : public ForwardingComm {
 public:
  enum class Fault { flips_a_bit, swaps_halves, is_slow };
  FaultyComm(Communicator& inner, Fault fault, int rank, int from)
      : ForwardingComm(inner), fault_(fault), faulty_(inner.rank() == rank), from_(from) {}
  FaultyComm(std::unique_ptr<Communicator> inner, Fault fault, bool faulty, int from)
      : ForwardingComm(std::move(inner)), fault_(fault), faulty_(faulty), from_(from) {}

  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<FaultyComm>(inner_.split(color, key), fault_, faulty_, from_);
  }
  void exchange(std::span<const Message> messages, Stream& stream) override {
    const bool large = std::ranges::any_of(messages, [](const Message& one) { return one.send_bytes > 1 << 20; });
    if (faulty_ && large && fault_ == Fault::is_slow) std::this_thread::sleep_for(std::chrono::seconds(1));
    inner_.exchange(messages, stream);
    if (!faulty_ || fault_ == Fault::is_slow || ++calls_ < from_) return;
    for (const Message& one : messages)
      if (one.receive_bytes >= sizeof(float)) spoil(one.receive, one.receive_bytes, stream);
  }

 private:
  void spoil(std::byte* data, size_t bytes, Stream& stream) {
    stream.synchronize();  // of the CPU, whose memory it is
    if (fault_ == Fault::flips_a_bit)
      data[bytes / 2] ^= std::byte{1};
    else
      std::swap_ranges(data, data + bytes / 8 * 4, data + bytes / 8 * 4);
  }

  Fault fault_;
  bool faulty_;
  int from_, calls_ = 0;
};

SelftestReport test_with(int ranks, FaultyComm::Fault fault, int rank, int from = 1) {
  Runtime runtime;
  return selftest(runtime, {.ranks = ranks, .backend = BackendChoice::cpu, .between = [=](Communicator& comm) {
                              return std::make_unique<FaultyComm>(comm, fault, rank, from);
                            }});
}

TEST(Selftest, PassesOnAMachineThatWorks) {
  for (const int ranks : {1, 2, 3, 4}) {
    Runtime runtime;
    const SelftestReport report = selftest(runtime, {.ranks = ranks, .backend = BackendChoice::cpu});
    EXPECT_EQ(report.failure(), nullptr) << report.text();
    EXPECT_EQ(report.checks.size(), 6U);
    EXPECT_EQ(report.computes_on.size(), static_cast<size_t>(ranks));
    EXPECT_EQ(report.kind, "local");
  }
}

TEST(Selftest, FindsABitThatFlips) {
  const SelftestReport report = test_with(2, FaultyComm::Fault::flips_a_bit, 1);
  ASSERT_NE(report.failure(), nullptr);
  EXPECT_EQ(report.failure()->name, "exchanges") << report.text();
  EXPECT_TRUE(report.failure()->fault.starts_with("rank 1 on ")) << report.text();
}

TEST(Selftest, FindsABitThatFlipsInTrainingAlone) {
  const SelftestReport report = test_with(2, FaultyComm::Fault::flips_a_bit, 0, 10);
  ASSERT_NE(report.failure(), nullptr);
  EXPECT_EQ(report.failure()->name, "same bits") << report.text();
  EXPECT_NE(report.failure()->fault.find("after step"), std::string::npos) << report.text();
}

TEST(Selftest, FindsHalvesThatAreSwapped) {
  const SelftestReport report = test_with(4, FaultyComm::Fault::swaps_halves, 2);
  ASSERT_NE(report.failure(), nullptr);
  EXPECT_TRUE(report.failure()->fault.starts_with("rank 2 on ")) << report.text();
}

TEST(Selftest, FindsALinkThatIsSlow) {
  const SelftestReport report = test_with(4, FaultyComm::Fault::is_slow, 3);
  ASSERT_NE(report.failure(), nullptr);
  EXPECT_EQ(report.failure()->name, "rates") << report.text();
  EXPECT_NE(report.failure()->fault.find("and 3 on"), std::string::npos) << report.text();
}

TEST(Selftest, CommandReportsAndWritesAFile) {
  const testing::TemporaryFolder folder;
  const std::string file = (folder.path() / "report.json").string();
  const Outcome outcome = run_command(binary_dir() + "/lockstep selftest --ranks 2 --backend cpu --output " + file);
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_TRUE(outcome.says("same bits again")) << outcome.text;
  const auto report = nlohmann::json::parse(testing::read_text(file));
  EXPECT_TRUE(report["ok"]);
  EXPECT_EQ(report["checks"].size(), 6U);
  EXPECT_EQ(report["computes_on"].size(), 2U);
}

}  // namespace
}  // namespace lockstep::test
