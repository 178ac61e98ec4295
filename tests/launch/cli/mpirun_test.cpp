// Ranks that mpirun started: how they come to be and end, and that the lockstep program trains on them as it does on
// threads, to the bit.
#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/backend.h"
#include "core/error.h"
#include "launch/host/runtime.h"
#include "parallel/comm/mpi.h"
#include "tests/launch/host/meet.h"
#include "tests/support/paths.h"
#include "tests/support/run_command.h"
#include "tests/support/temporary_folder.h"

namespace lockstep::testing {
namespace {

using test::Outcome;
using test::run_command;

// What the children of this test do, by name. They run on three ranks.
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

class MpiRun : public ::testing::Test {
 protected:
  /// A run that does not end by itself within seconds ends with 124.
  static Outcome start(const std::string& program, const std::string& options = "") {
    const auto self = std::filesystem::read_symlink("/proc/self/exe").string();
    return run_command(
        fmt::format("timeout 20 {} -np 3 {} {} --rank-program {}", test::mpiexec(), options, self, program));
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
}

class MpiTrain : public MpiRun {
 protected:
  static inline const std::string lockstep = test::binary_dir() + "/lockstep ";
  static Outcome train(int ranks, const std::string& options, const std::string& before = "") {
    return run_command(
        fmt::format("timeout 300 {} -np {} {} {} train {}", test::mpiexec(), ranks, before, lockstep, options));
  }
  static std::string sha_of(const Outcome& outcome) {
    EXPECT_EQ(outcome.code, 0) << outcome.text;
    return outcome.line_after("weights sha256 ");
  }
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  /// A model as small as one with batch norm, strides and a residual can be: a start of it takes a moment.
  std::string residual() const {
    const std::string file = path("residual.json");
    write_file(file, R"({"name": "residual", "layers": [
      {"type": "Input", "shape": [16, 16, 1]},
      {"type": "Conv2D", "filters": 8, "kernel_size": 3, "padding": "same", "use_bias": false},
      {"type": "BatchNormalization"},
      {"type": "ReLU", "name": "stem"},
      {"type": "Conv2D", "filters": 16, "kernel_size": 3, "strides": 2, "padding": "same", "use_bias": false},
      {"type": "BatchNormalization"},
      {"type": "ReLU"},
      {"type": "Conv2D", "filters": 16, "kernel_size": 3, "padding": "same", "use_bias": false},
      {"type": "BatchNormalization", "name": "deep"},
      {"type": "Conv2D", "filters": 16, "kernel_size": 1, "strides": 2, "inputs": ["stem"]},
      {"type": "BatchNormalization", "name": "short"},
      {"type": "Add", "inputs": ["deep", "short"]},
      {"type": "ReLU"},
      {"type": "GlobalAveragePooling2D"},
      {"type": "Dense", "units": 10, "activation": "softmax"}]})");
    return file;
  }
  TemporaryFolder folder_;
};

TEST_F(MpiTrain, TheSameBitsAsOnThreads) {
  // Batch norm and a residual; dropout, too, and a short last batch: 1,437 images in batches of 64.
  const std::string common = "--data digits --batch 64 --seed 7 --quiet ";
  const std::string small = test::source_dir() + "/examples/small.json";
  for (const auto& [options, most] : {std::pair{common + "--model resnet18 --resize 16 --steps 3", 2},
                                      {common + "--epochs 2 --resize 16 --model " + residual(), 8},
                                      {common + "--epochs 2 --model " + small, 8}}) {
    const std::string sha = sha_of(run_command(fmt::format("{}train {} --ranks 2", lockstep, options)));
    EXPECT_EQ(sha.size(), 64U);
    for (int ranks = most == 8 ? 1 : 2; ranks <= most; ranks *= 2)
      EXPECT_EQ(sha_of(train(ranks, options)), sha) << ranks << " ranks";
    EXPECT_NE(sha_of(train(2, options + " --seed 8")), sha);
  }
}

TEST_F(MpiTrain, EveryStrategyHasTheBitsThatItHasOnThreads) {
  const std::string common =
      "--data digits --resize 16 --batch 16 --lanes 2 --steps 10 --quiet --model " + residual() + " ";
  for (const auto& [strategy, ranks] : {std::pair{"space_h=2", 2},
                                        {"filter=2", 2},
                                        {"channel=2", 2},
                                        {"space_h=2,filter=2", 4},
                                        {"data=2,space_w=2", 4},
                                        {"stage=2", 2},
                                        {"stage=4 --pipeline gpipe", 4},
                                        {"data=2,stage=auto", 4}}) {
    const std::string options = common + "--strategy " + strategy;
    const std::string sha = sha_of(run_command(fmt::format("{}train {} --ranks {}", lockstep, options, ranks)));
    EXPECT_EQ(sha.size(), 64U);
    EXPECT_EQ(sha_of(train(ranks, options)), sha) << strategy;
  }
}

TEST_F(MpiTrain, RanksInFastModeTrainTheSameModel) {
  const std::string options = "--model lenet5 --resize 28 --batch 64 --steps 3 ";
  const auto loss = [](const Outcome& outcome) { return std::stod("0" + outcome.line_after("epoch 1/1  loss ")); };
  const Outcome fast = train(2, options + "--numerics fast");
  EXPECT_EQ(fast.code, 0) << fast.text;
  EXPECT_NEAR(loss(fast), loss(train(2, options)), 2e-4) << fast.text;
}

TEST_F(MpiTrain, TheExamplesHaveTheSameBits) {
  for (const char* name : {"branches", "callbacks", "digits", "filter", "own_callback", "own_loss", "own_operator",
                           "pipeline", "spatial", "split"}) {
    const std::string example = test::binary_dir() + "/example_" + std::string(name);
    const std::string sha = sha_of(run_command(example));
    EXPECT_EQ(sha.size(), 64U);
    EXPECT_EQ(sha_of(run_command(fmt::format("{} -np 2 {}", test::mpiexec(), example))), sha) << name;
  }
}

TEST_F(MpiTrain, OneRankWritesTheRunFolder) {
  const std::string options = "--model lenet5 --resize 28 --batch 64 --steps 2 --out " + path("run");
  const std::string sha = sha_of(train(4, options));
  const auto manifest = nlohmann::json::parse(std::ifstream(path("run/manifest.json")));
  EXPECT_EQ(manifest["result"]["weights_sha256"], sha);
  EXPECT_EQ(manifest["communicator"], "mpi");
  EXPECT_EQ(manifest["configuration"]["ranks"], 4);
  EXPECT_EQ(manifest["rank_seeds"].size(), 4U);
  // A folder that cannot be used ends all ranks with one message, and none by force.
  const Outcome again = train(4, options);
  EXPECT_EQ(again.code, 2) << again.text;
  EXPECT_EQ(again.count("holds another run"), 1U) << again.text;
  EXPECT_EQ(again.count("MPI_ABORT"), 0U) << again.text;
}

TEST_F(MpiTrain, ASignalToOneRankStopsAllAfterTheSameStep) {
  const std::string all = "--model lenet5 --data digits --resize 28 --batch 64 --lanes 4 --quiet --out " + path("run");
  const std::string noted =
      "sh -c 'echo $$ > " + path("pid") + ".${OMPI_COMM_WORLD_RANK:-$PMI_RANK}; exec \"$0\" \"$@\"'";
  const std::string started =
      fmt::format("timeout 120 {} -np 2 {} {} train {} --epochs 100000", test::mpiexec(), noted, lockstep, all);
  const Outcome stopped = run_command(
      started + " & job=$!\nfor i in $(seq 1200); do [ $(cat " + path("run/metrics.jsonl") +
      " 2>/dev/null | wc -l) -ge 8 ] && break; sleep 0.05; done\nkill -TERM $(cat " + path("pid.1") + ")\nwait $job");
  ASSERT_EQ(stopped.code, 0) << stopped.text;
  EXPECT_EQ(stopped.count("interrupted by a signal to another rank after step "), 1U) << stopped.text;
  const auto manifest = nlohmann::json::parse(std::ifstream(path("run/manifest.json")));
  const int64_t step = manifest["interrupted"]["step"];
  // Goes on on threads, with the bits of a run that had no break.
  const std::string end = fmt::format("--steps {} ", step + 2);
  const std::string resumed =
      sha_of(run_command(fmt::format("{}train {} --resume {} {}", lockstep, all, path("run"), end)));
  EXPECT_EQ(resumed.size(), 64U);
  const std::string straight = "--model lenet5 --data digits --resize 28 --batch 64 --lanes 4 --quiet --ranks 1 " + end;
  EXPECT_EQ(sha_of(run_command(fmt::format("{}train {}", lockstep, straight))), resumed);
}

TEST_F(MpiTrain, WeightsThatAreNotFiniteEndAllRanks) {
  const Outcome outcome = train(2, "--model lenet5 --resize 28 --steps 1 --lr 1e38 --out " + path("run"));
  EXPECT_EQ(outcome.code, 1) << outcome.text;
  EXPECT_EQ(outcome.count("the weights after step 1 are not finite: 'conv2d/kernel'"), 1U) << outcome.text;
  EXPECT_EQ(outcome.count("MPI_ABORT"), 0U) << outcome.text;
  EXPECT_FALSE(std::filesystem::exists(path("run/weights.safetensors")));
}

TEST_F(MpiTrain, OfTwoStartsIntoOneFolderOneWins) {
  const std::string start =
      fmt::format("timeout 300 {} -np 2 {} train --model lenet5 --resize 28 --batch 64 --steps 40 --quiet --out {} ",
                  test::mpiexec(), lockstep, path("run"));
  const Outcome both = run_command(fmt::format("({0}; echo ended $?) & ({0}; echo ended $?)\nwait", start));
  EXPECT_EQ(both.count("ended 0\n"), 1U) << both.text;
  EXPECT_EQ(both.count("ended 2\n"), 1U) << both.text;
  EXPECT_EQ(both.count("is in use: process ") + both.count("holds another run"), 1U) << both.text;
  EXPECT_EQ(both.count("MPI_ABORT"), 0U) << both.text;
  EXPECT_FALSE(std::filesystem::exists(path("run/run.lock")));
}

TEST_F(MpiTrain, TooManyThreadsAreToldOnce) {
  const Outcome outcome = train(2, "--resize 32 --threads 30000");
  EXPECT_EQ(outcome.code, 2) << outcome.text;
  EXPECT_EQ(outcome.count("--threads is 30000, which makes 60000 threads"), 1U) << outcome.text;
}

TEST_F(MpiTrain, BadInputIsToldOnce) {
  for (const auto& [options, message] : {std::pair{"--resize 32 --batch 30", "24 or 32 would fit"},
                                         {"--resize 32 --lanes 2 --batch 32", "4 ranks"},
                                         {"--model lenet6", "did you mean 'lenet5'"},
                                         {"--data idx:/nowhere", "/nowhere"},
                                         {"--strategy space_h=3", "does not divide 4 ranks"},
                                         {"--model resnet18 --strategy space_w=4", "'space_w' has 4 members"},
                                         {"--resize 32 --estimate", "start it without mpirun, with --ranks 4"},
                                         {"--resize 32 --ranks 2", "mpirun started 4 ranks"}}) {
    const Outcome outcome = train(4, options);
    EXPECT_EQ(outcome.code, 2) << outcome.text;
    EXPECT_EQ(outcome.count(message), 1U) << outcome.text;
    EXPECT_EQ(outcome.count("MPI_ABORT"), 0U) << outcome.text;
  }
}

TEST_F(MpiTrain, OtherInstructionSetsAreRefusedUnlessFast) {
  // The second rank computes with SSE4.1 alone, as an old machine of a mixed cluster would.
  const std::string only_one =
      "sh -c '[ \"${OMPI_COMM_WORLD_RANK:-$PMI_RANK}\" = 0 ] || export ONEDNN_MAX_CPU_ISA=SSE41; "
      "export DNNL_MAX_CPU_ISA=$ONEDNN_MAX_CPU_ISA; exec \"$0\" \"$@\"'";
  const std::string options = "--model lenet5 --resize 28 --steps 1 ";
  const Outcome refused = train(2, options, only_one);
  EXPECT_EQ(refused.code, 2) << refused.text;
  EXPECT_EQ(refused.count("rank 1 with oneDNN"), 1U) << refused.text;
  EXPECT_EQ(train(2, options + "--numerics fast", only_one).code, 0);
}

}  // namespace
}  // namespace lockstep::testing

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "--rank-program") return lockstep::testing::rank_program(argv[2]);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
