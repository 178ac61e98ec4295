// How ranks come to be and how they end, as threads of this process; mpirun_test does the same under mpirun.
#include "launch/host/runtime.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <mutex>
#include <set>

#include "core/error.h"
#include "parallel/comm/launcher.h"
#include "tests/launch/host/meet.h"
#include "tests/support/watchdog.h"

namespace lockstep::testing {
namespace {

TEST(RuntimeTest, ThreadsAreRanks) {
  const Watchdog watchdog("threads");
  Runtime runtime;
  EXPECT_FALSE(runtime.distributed());
  EXPECT_EQ(runtime.size(), 1);
  for (const int ranks : {1, 2, 3, 8}) {
    std::mutex mutex;
    std::set<int> seen;
    runtime.run(ranks, [&](RankContext& rank) {
      meet(rank.comm);
      const std::lock_guard lock(mutex);
      EXPECT_EQ(rank.comm.size(), ranks);
      EXPECT_EQ(rank.local_size, ranks);
      EXPECT_EQ(rank.local_rank, rank.comm.rank());
      EXPECT_EQ(rank.host, runtime.hosts().at(0));
      EXPECT_TRUE(seen.insert(rank.comm.rank()).second);
    });
    EXPECT_EQ(seen.size(), static_cast<size_t>(ranks));
  }
}

TEST(RuntimeTest, AFailingThreadReleasesTheOthersAndIsNamed) {
  const Watchdog watchdog("failing thread", std::chrono::seconds(10));
  Runtime runtime;
  const auto message = [&]<class Thrown>(const Thrown& thrown) -> std::string {
    try {
      runtime.run(4, [&](RankContext& rank) {
        if (rank.comm.rank() == 3) throw thrown;
        meet(rank.comm);
      });
    } catch (const InputError& error) {
      return std::string("InputError ") + error.what();
    } catch (const Error& error) {
      return std::string("Error ") + error.what();
    }
    return "nothing";
  };
  EXPECT_EQ(message(InputError("bad image")), "InputError rank 3: bad image");
  EXPECT_EQ(message(Error("disk full")), "Error rank 3: disk full");
  EXPECT_EQ(message(std::runtime_error("from a library")), "Error rank 3: from a library");
  EXPECT_EQ(message(7), "Error rank 3: an unknown exception");
}

TEST(RuntimeTest, TheErrorOfASingleRankIsNotPrefixed) {
  Runtime runtime;
  try {
    runtime.run(1, [](RankContext&) { throw InputError("bad image"); });
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "bad image");
  }
}

TEST(RuntimeTest, GuardTurnsErrorsIntoExitCodes) {
  Runtime runtime;
  const auto guarded = [&](const std::function<void()>& program) {
    ::testing::internal::CaptureStderr();
    const int code = runtime.guard(program);
    return std::pair{code, ::testing::internal::GetCapturedStderr()};
  };
  EXPECT_EQ(guarded([] {}), (std::pair{0, std::string()}));
  EXPECT_EQ(guarded([] { throw InputError("bad image"); }),
            (std::pair{2, std::string("lockstep: error: bad image\n")}));
  EXPECT_EQ(guarded([] { throw Error("disk full"); }), (std::pair{1, std::string("lockstep: error: disk full\n")}));
  EXPECT_EQ(guarded([] { throw 7; }).first, 1);
}

TEST(RuntimeTest, AutomaticRanksFitCoresAndLanes) {
  const Runtime runtime;
  const int cores = runtime.cores();
  ASSERT_GE(cores, 1);
  for (int lanes = 1; lanes <= 64; lanes *= 2) {
    for (int threads = 1; threads <= 4; ++threads) {
      const int ranks = runtime.auto_ranks(lanes, threads);
      EXPECT_EQ(lanes % ranks, 0);
      EXPECT_EQ(ranks & (ranks - 1), 0);
      EXPECT_TRUE(ranks == 1 || ranks * threads <= cores);
      const bool twice_fits = lanes % (ranks * 2) == 0 && ranks * 2 * threads <= cores;
      EXPECT_FALSE(twice_fits) << "lanes " << lanes << " threads " << threads << " gave " << ranks;
    }
  }
  EXPECT_EQ(runtime.auto_ranks(7, 1), 1);
}

TEST(RuntimeTest, LaunchersAreKnownByTheirEnvironment) {
  const auto ranks_with = [](std::initializer_list<std::pair<const char*, const char*>> variables) {
    for (const auto& [name, value] : variables) ::setenv(name, value, 1);
    const int ranks = launched_ranks();
    for (const auto& [name, value] : variables) ::unsetenv(name);
    return ranks;
  };
  EXPECT_EQ(ranks_with({}), 0);
  EXPECT_EQ(ranks_with({{"OMPI_COMM_WORLD_SIZE", "4"}}), 4);
  EXPECT_EQ(ranks_with({{"PMI_SIZE", "2"}, {"PMI_RANK", "1"}}), 2);
  EXPECT_EQ(ranks_with({{"PMIX_RANK", "0"}}), 1);
  EXPECT_EQ(ranks_with({{"SLURM_PROCID", "3"}, {"SLURM_STEP_NUM_TASKS", "8"}}), 8);
  EXPECT_EQ(ranks_with({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}}), 0) << "a batch script is no rank";
  EXPECT_EQ(ranks_with({{"OMPI_COMM_WORLD_SIZE", "x"}}), 0);
}

}  // namespace
}  // namespace lockstep::testing
