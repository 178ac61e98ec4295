// The canonical tree between processes has the bits of the plain definition, as it has between threads.
#include <cstdio>

#include "core/error.h"
#include "parallel/comm/launcher.h"
#include "parallel/comm/mpi.h"
#include "tests/parallel/tree_reference.h"
#include "tests/support/watchdog.h"

namespace lockstep::testing {
namespace {

// MPI starts once a process, so all tests of this program share one communicator; main owns it.
Communicator* world = nullptr;

bool power_of_two() { return std::has_single_bit(static_cast<unsigned>(world->size())); }

TEST(TreeReduceMpiTest, SameBitsAsTheDefinition) {
  if (!power_of_two()) GTEST_SKIP() << world->size() << " ranks are no power of two";
  const Watchdog watchdog("tree over MPI", std::chrono::seconds(60));
  const auto backend = make_cpu_backend(1);
  const auto stream = backend->side_stream();
  for (const size_t n : {size_t{1}, size_t{7}, size_t{2049}, size_t{5001}, size_t{1} << 20}) {
    for (const size_t lanes : {4, 16}) {
      const Lanes values = random_lanes(lanes, n);
      EXPECT_TRUE(same_bits(reduce_on_rank(*world, *stream, *backend, values, n % 3), tree_sum(values, 0, lanes)))
          << "lanes " << lanes << " rank " << world->rank() << " n " << n;
    }
  }
}

TEST(TreeReduceMpiTest, OtherRanksAreRefused) {
  if (power_of_two()) GTEST_SKIP() << world->size() << " ranks are a power of two";
  const auto backend = make_cpu_backend(1);
  EXPECT_THROW(TreeAllReduce(*world, *backend, 10), InputError);
}

TEST(TreeReduceMpiTest, LanesInAnotherOrderHaveOtherBits) {
  if (!power_of_two()) GTEST_SKIP() << world->size() << " ranks are no power of two";
  const auto backend = make_cpu_backend(1);
  const auto stream = backend->side_stream();
  Lanes values = random_lanes(8, 5001);
  const auto expected = tree_sum(values, 0, 8);
  std::swap(values[1], values[2]);
  EXPECT_FALSE(same_bits(reduce_on_rank(*world, *stream, *backend, values), expected));
}

}  // namespace
}  // namespace lockstep::testing

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (!lockstep::started_by_mpi()) {
    std::fprintf(stderr, "start this test with mpirun\n");
    return 1;
  }
  const auto world = lockstep::make_mpi();
  lockstep::testing::world = world.get();
  return RUN_ALL_TESTS();
}
