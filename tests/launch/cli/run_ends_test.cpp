// How runs of the program end: with which exit code, what is said, and what is left in their folders, whatever happens.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "launch/record/checkpoint_folder.h"
#include "tests/support/paths.h"
#include "tests/support/run_command.h"
#include "tests/support/temporary_folder.h"

namespace {

namespace fs = std::filesystem;
using namespace lockstep::test;
using lockstep::testing::read_text;
using lockstep::testing::TemporaryFolder;
using lockstep::testing::write_file;

const std::string program = binary_dir() + "/lockstep ";
const std::string small = "train --model lenet5 --data digits --resize 28 --batch 64 --lanes 4 --quiet ";

Outcome run(const std::string& arguments, const std::string& before = "") {
  return run_command(before + " " + program + arguments);
}

class RunEnds : public testing::Test {
 protected:
  TemporaryFolder folder_;
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  nlohmann::json manifest(const std::string& run) const {
    return nlohmann::json::parse(read_text(path(run) + "/manifest.json"));
  }
  size_t lines(const std::string& file) const {
    const std::string text = read_text(path(file));
    return static_cast<size_t>(std::ranges::count(text, '\n'));
  }
  /// Starts so many at the same time, with '@' in the arguments as the number of each; their codes and what they said.
  std::vector<Outcome> at_once(int many, const std::string& arguments) const {
    std::string script = "cd " + folder_.path().string() + "\nrm -f said.* code.*\n";
    for (int i = 0; i < many; ++i) {
      std::string mine = arguments;
      std::ranges::replace(mine, '@', static_cast<char>('0' + i));
      script += fmt::format("( {}{} >said.{} 2>&1; echo $? >code.{} ) &\n", program, mine, i, i);
    }
    run_command(script + "wait");
    std::vector<Outcome> all;
    for (int i = 0; i < many; ++i)
      all.push_back(
          {std::stoi("0" + read_text(path(fmt::format("code.{}", i)))), read_text(path(fmt::format("said.{}", i)))});
    return all;
  }
  /// Of `all` one has ended well, the others were told why they could not.
  void expect_one_winner(const std::vector<Outcome>& all) const {
    EXPECT_EQ(std::ranges::count(all, 0, &Outcome::code), 1);
    for (const Outcome& one : all) {
      if (one.code == 0) continue;
      EXPECT_EQ(one.code, 2) << one.text;
      EXPECT_TRUE(one.says("is in use: process ") || one.says("holds another run")) << one.text;
      EXPECT_EQ(one.count("lockstep: error"), 1U) << one.text;
    }
    EXPECT_FALSE(fs::exists(path("run/run.lock")));
    EXPECT_FALSE(fs::exists(path("run/checkpoints/run.lock")));
  }
};

TEST_F(RunEnds, WeightsThatAreNotFiniteAreAnError) {
  const std::string diverges = "train --model lenet5 --resize 28 --steps 1 --lr 1e38 --quiet ";
  for (const char* options : {"--ranks 1", "--ranks 2 --checkpoint-every 1"}) {
    const Outcome outcome = run(diverges + options + " --out " + path("run"));
    EXPECT_EQ(outcome.code, 1) << outcome.text;
    EXPECT_TRUE(outcome.says("not finite: 'conv2d/kernel' [6, 5, 5, 1] holds ")) << outcome.text;
    EXPECT_EQ(outcome.count("lockstep: error"), 1U) << outcome.text;
    EXPECT_FALSE(outcome.says("weights sha256")) << outcome.text;
    EXPECT_FALSE(fs::exists(path("run/weights.safetensors")));
    EXPECT_FALSE(fs::exists(path("run/checkpoints/step-000001")));
    EXPECT_FALSE(manifest("run").contains("result"));
    fs::remove_all(path("run"));
  }
  EXPECT_EQ(run(diverges).code, 1) << "without a folder, too";
}

TEST_F(RunEnds, ARankThatFindsNoOthersSaysSo) {
  // As Slurm starts tasks where MPI does not know how to find the others.
  for (const char* rank : {"0", "1", "3"}) {
    const Outcome outcome = run(small + "--steps 1", fmt::format("SLURM_PROCID={} SLURM_STEP_NUM_TASKS=4", rank));
    EXPECT_NE(outcome.code, 0) << outcome.text;
    EXPECT_EQ(outcome.count(fmt::format("lockstep: error: rank {} of 4 on ", rank)), 1U) << outcome.text;
    EXPECT_TRUE(outcome.says("each of them sees an MPI of 1") || outcome.says("this build has no MPI")) << outcome.text;
  }
}

TEST_F(RunEnds, OfSeveralStartsIntoOneFolderOneWins) {
  const std::string all = small + "--ranks 1 --checkpoint-every 2 --out " + path("run");
  for (int round = 0; round < 3; ++round) {
    fs::remove_all(path("run"));
    expect_one_winner(at_once(6, all + " --steps 12"));
    EXPECT_EQ(lines("run/metrics.jsonl"), 13U) << "12 steps and their epoch";
  }
  // And of several that go on with it; the first to come must not be done before the last one comes.
  const auto resumed = at_once(6, all + " --steps 150 --resume " + path("run"));
  expect_one_winner(resumed);
  EXPECT_EQ(lines("run/metrics.jsonl"), 157U) << "150 steps, six whole epochs of 23 and one of 12";
  // Two folders of runs, but one of checkpoints.
  const std::string shared = small + "--ranks 1 --checkpoint-every 1 --steps 60 --checkpoint-dir " + path("both");
  const auto two = at_once(3, shared + " --out " + path("own.@"));
  EXPECT_EQ(std::ranges::count(two, 0, &Outcome::code), 1) << two[0].text << two[1].text << two[2].text;
}

TEST_F(RunEnds, AKilledRunsLockHindersNobody) {
  const std::string all = small + "--ranks 1 --checkpoint-every 2 --out " + path("run");
  const Outcome killed =
      run_command(program + all + " --steps 1000000 & job=$!\nfor i in $(seq 1200); do [ -e " +
                  path("run/checkpoints/step-000002") + " ] && break; sleep 0.02; done\nkill -KILL $job; wait $job");
  EXPECT_EQ(killed.code, 137) << killed.text;
  ASSERT_TRUE(fs::exists(path("run/run.lock"))) << "nothing else is tested";
  ASSERT_TRUE(fs::exists(path("run/checkpoints/run.lock")));
  const int64_t step = lockstep::checkpoint_step(lockstep::find_checkpoint(path("run")));
  const Outcome resumed = run(all + fmt::format(" --steps {} --log info --resume {}", step + 2, path("run")));
  EXPECT_EQ(resumed.code, 0) << resumed.text;
  EXPECT_EQ(resumed.count("has ended: replaced"), 2U) << resumed.text;
  EXPECT_FALSE(fs::exists(path("run/run.lock")));
  EXPECT_FALSE(fs::exists(path("run/checkpoints/run.lock")));
}

TEST_F(RunEnds, AnotherMachinesLockIsRespected) {
  fs::create_directory(path("run"));
  const std::string lock =
      R"({"host": "node7", "pid": 9, "started": "2026-01-01T00:00:00Z", "process_start": 1, "boot": "x", "pid_namespace": ""})";
  write_file(path("run/run.lock"), lock);
  const Outcome outcome = run(small + "--steps 1 --out " + path("run"));
  EXPECT_EQ(outcome.code, 2) << outcome.text;
  for (const char* part : {"process 9 on node7", "2026-01-01", "run/run.lock", "remove this file"})
    EXPECT_TRUE(outcome.says(part)) << outcome.text;
  EXPECT_EQ(read_text(path("run/run.lock")), lock);
  EXPECT_EQ(std::distance(fs::directory_iterator(path("run")), {}), 1);
}

TEST_F(RunEnds, ASignalAfterTheEndChangesNothing) {
  // The hash is printed when all is recorded; the signal comes then, or as soon as the shell gets to it.
  for (const char* signal : {"TERM", "INT"}) {
    for (int i = 0; i < 6; ++i) {
      const std::string out = path(fmt::format("run{}{}", signal, i));
      const Outcome outcome =
          run_command("mkfifo " + out + ".fifo\n" + program + small + "--ranks 1 --steps 1 --out " + out + " > " + out +
                      ".fifo & job=$!\nwhile read -r line; do case $line in weights*) kill -" + signal +
                      " $job;; esac; done < " + out + ".fifo\nwait $job");
      EXPECT_EQ(outcome.code, 0) << signal << ", " << i << ": " << outcome.text;
      EXPECT_TRUE(nlohmann::json::parse(read_text(out + "/manifest.json")).contains("result"));
      EXPECT_FALSE(fs::exists(out + "/run.lock"));
    }
  }
}

}  // namespace
