// Ranks as processes: the conformance suite, run by mpirun with 2, 3 and 4 ranks.
#include <cstdio>

#include "parallel/comm/launcher.h"
#include "parallel/comm/mpi.h"
#include "parallel/comm/staged.h"
#include "tests/parallel/communicator_conformance.h"
#include "tests/parallel/fake_device.h"

namespace lockstep::testing {
namespace {

// MPI starts once a process, so all tests of this program share one communicator; main owns it.
Communicator* world = nullptr;

struct MpiRanks {
  static void run(const std::function<void(Communicator&, Backend&)>& body) { body(*world, *make_cpu_backend(1)); }
};

struct StagedRanks {
  static void run(const std::function<void(Communicator&, Backend&)>& body) {
    FakeDevice backend(HostWork::allowed);
    body(*make_staged(*world, backend), backend);
  }
};

using Ranks = ::testing::Types<MpiRanks, StagedRanks>;
INSTANTIATE_TYPED_TEST_SUITE_P(Mpi, CommunicatorConformance, Ranks);

TEST(MpiTest, SeesTheRanksThatWereStarted) { EXPECT_EQ(world->size(), launched_ranks()); }

TEST(MpiTest, CallsFromTwoStreamsAtOnce) {
  const Watchdog watchdog("two streams");
  const auto backend = make_cpu_backend(1);
  const auto other = world->split(0, world->rank());
  const auto one_stream = backend->side_stream(), other_stream = backend->side_stream();
  auto one_data = terms(world->rank(), 5000), other_data = terms(world->rank(), 70000);
  const auto expected_one = sums(world->size(), 5000), expected_other = sums(world->size(), 70000);
  for (int round = 0; round < 50; ++round) {
    one_data = terms(world->rank(), 5000);
    other_data = terms(world->rank(), 70000);
    // Ranks differ in which call they make first: neither may keep the other from going on.
    if (world->rank() % 2 == 0) world->all_reduce(one_data.data(), one_data.size(), *one_stream);
    other->all_reduce(other_data.data(), other_data.size(), *other_stream);
    if (world->rank() % 2 == 1) world->all_reduce(one_data.data(), one_data.size(), *one_stream);
    one_stream->synchronize();
    other_stream->synchronize();
    ASSERT_EQ(one_data, expected_one);
    ASSERT_EQ(other_data, expected_other);
  }
}

TEST(MpiTest, StagedCallsMayBeRecorded) {
  FakeDevice backend(HostWork::allowed);
  EXPECT_TRUE(make_staged(*world, backend)->capturable());
}

TEST(MpiTest, PiecesOfAWrongSizeAreRefused) {
  EXPECT_THROW(make_mpi(0), Error);
  EXPECT_THROW(make_mpi(5), Error);
  EXPECT_THROW(make_mpi(size_t{1} << 31), Error);
}

}  // namespace
}  // namespace lockstep::testing

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (!lockstep::started_by_mpi()) {
    std::fprintf(stderr, "start this test with mpirun\n");
    return 1;
  }
  // A piece below the larger messages of the suite: they travel in several.
  const auto world = lockstep::make_mpi(100000);
  lockstep::testing::world = world.get();
  return RUN_ALL_TESTS();
}
