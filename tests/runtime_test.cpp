// How ranks come to be and how they end: as threads in this process, and under mpirun in a child (suite MpiRun).
#include "launch/runtime.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <sys/wait.h>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <set>

#include "core/backend.h"
#include "core/error.h"
#include "parallel/comm/mpi.h"
#include "tests/watchdog.h"

namespace lockstep::testing {
namespace {

void meet(Communicator& comm) {
  const auto backend = make_cpu_backend(1);
  const auto stream = backend->side_stream();
  float one = 1;
  comm.all_reduce(&one, 1, *stream);
  stream->synchronize();
  if (one != static_cast<float>(comm.size())) throw Error("the sum over {} ranks is {}", comm.size(), one);
}

// What the children of suite MpiRun do, by name. They run on three ranks.
int rank_program(const std::string& name) {
  Runtime runtime;
  return runtime.guard([&] {
    runtime.run(name == "five" ? 5 : runtime.size(), [&](RankContext& rank) {
      const bool bad = rank.comm.rank() == 1;
      if (name == "alike") throw InputError("batch of 7");
      if (name == "error" && bad) throw Error("disk full");
      if (name == "input" && bad) throw InputError("bad image");
      if (name == "foreign" && bad) throw 7;
      if (name == "killed" && bad) std::raise(SIGKILL);
      meet(rank.comm);
      if (name == "late" && bad) throw InputError("bad image");
      if (runtime.rank() == 0) {
        std::printf("distributed %d size %d hosts %zu local %d of %d cores %d\n", runtime.distributed(), runtime.size(),
                    runtime.hosts().size(), rank.local_rank, rank.local_size, runtime.cores());
      }
    });
  });
}

struct Outcome {
  int code = -1;
  std::string text;
  double seconds = 0;
  size_t count(const std::string& part) const {
    size_t found = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
    return found;
  }
};

class MpiRun : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::string(LOCKSTEP_MPIEXEC).empty()) GTEST_SKIP() << "this build has no MPI";
  }
  static Outcome start(const std::string& program, const std::string& options = "") {
    std::array<char, 4096> self{};
    if (::readlink("/proc/self/exe", self.data(), self.size() - 1) < 0) throw Error("cannot find this program");
    const auto command =
        fmt::format("timeout 60 {} -np 3 {} {} --rank-program {} 2>&1", LOCKSTEP_MPIEXEC, options, self.data(), program);
    const auto begin = std::chrono::steady_clock::now();
    FILE* pipe = ::popen(command.c_str(), "r");
    Outcome outcome;
    for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) outcome.text += static_cast<char>(c);
    const int status = ::pclose(pipe);
    outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return outcome;
  }
};

TEST_F(MpiRun, EndsWellWhenAllDo) {
  const Outcome outcome = start("fine");
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  // MPI libraries may have something to say of the network.
  EXPECT_EQ(outcome.count(fmt::format("distributed 1 size 3 hosts 3 local 0 of 3 cores {}\n", Runtime().cores())), 1U)
      << outcome.text;
}

TEST_F(MpiRun, RanksThatAreBoundToCoresOfTheirOwnCountAll) {
  if (!mpi_library_version().starts_with("Open MPI")) GTEST_SKIP() << "other mpiruns bind by other options";
  const Outcome outcome = start("fine", "--bind-to core:overload-allowed");
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_EQ(outcome.count(fmt::format(" local 0 of 3 cores {}\n", std::min(3, Runtime().cores()))), 1U) << outcome.text;
}

TEST_F(MpiRun, OneFailingRankEndsAll) {
  for (const auto& [program, code, message] :
       {std::tuple{"error", 1, "disk full"}, {"input", 2, "bad image"}, {"foreign", 1, "an unknown exception"}}) {
    const Outcome outcome = start(program);
    EXPECT_EQ(outcome.code, code) << program << ": " << outcome.text;
    EXPECT_EQ(outcome.count("lockstep: error: rank 1 of 3 on "), 1U) << outcome.text;
    EXPECT_EQ(outcome.count(message), 1U) << outcome.text;
    EXPECT_TRUE(outcome.seconds <= 10) << program << " took " << outcome.seconds << " s";
  }
}

TEST_F(MpiRun, ARankThatFailsAfterTheOthersAreDone) {
  const Outcome outcome = start("late");
  EXPECT_EQ(outcome.code, 2) << outcome.text;
  EXPECT_EQ(outcome.count("lockstep: error: rank 1 of 3 on "), 1U) << outcome.text;
  EXPECT_EQ(outcome.count("MPI_ABORT"), 0U) << "all ranks end by themselves: " << outcome.text;
}

TEST_F(MpiRun, AnErrorOfAllRanksIsPrintedOnce) {
  for (const auto& [program, message] : {std::pair{"alike", "batch of 7"}, {"five", "5 ranks"}}) {
    const Outcome outcome = start(program);
    EXPECT_EQ(outcome.code, 2) << program << ": " << outcome.text;
    EXPECT_EQ(outcome.count(message), 1U) << outcome.text;
    EXPECT_EQ(outcome.count("MPI_ABORT"), 0U) << outcome.text;
  }
}

TEST_F(MpiRun, AKilledRankEndsAll) {
  const Outcome outcome = start("killed");
  EXPECT_NE(outcome.code, 0) << outcome.text;
  EXPECT_TRUE(outcome.seconds <= 10) << outcome.seconds << " s";
}

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

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "--rank-program") return lockstep::testing::rank_program(argv[2]);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
