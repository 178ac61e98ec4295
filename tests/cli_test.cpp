// The lockstep program as a user meets it: results, run folder, and every kind of bad input: message, exit code 2, and
// nothing left half written.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/temporary_folder.h"

namespace {

namespace fs = std::filesystem;
using lockstep::testing::TemporaryFolder;

struct Outcome {
  int code = -1;
  std::string text;  // stdout and stderr
};

Outcome run(const std::string& arguments, const std::string& before = "") {
  const std::string command = before + " " + LOCKSTEP_BINARY_DIR + "/lockstep " + arguments + " 2>&1";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  Outcome outcome;
  std::array<char, 4096> buffer{};
  while (const size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe)) outcome.text.append(buffer.data(), got);
  const int status = ::pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  return outcome;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

std::string read(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string line_after(const std::string& text, const std::string& start) {
  const size_t at = text.find(start);
  return at == std::string::npos ? "" : text.substr(at + start.size(), text.find('\n', at) - at - start.size());
}

const std::string small = "train --model lenet5 --data digits --resize 28 --batch 64 --steps 3 --seed 5 ";

class Cli : public testing::Test {
 protected:
  TemporaryFolder folder_;
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
};

TEST_F(Cli, TrainWritesTheRunFolderAndEvaluateReadsIt) {
  const Outcome trained = run(small + "--out " + path("run"));
  ASSERT_EQ(trained.code, 0) << trained.text;
  for (const char* part :
       {"model lenet5, 61706 parameters", "lanes 8, numerics reproducible, seed 5", "test accuracy "})
    EXPECT_TRUE(contains(trained.text, part)) << trained.text;
  const std::string sha = line_after(trained.text, "weights sha256 ");
  EXPECT_EQ(sha.size(), 64U);

  const auto manifest = nlohmann::json::parse(read(path("run/manifest.json")));
  EXPECT_EQ(manifest["result"]["weights_sha256"], sha);
  EXPECT_EQ(manifest["configuration"]["batch"], 64);
  EXPECT_EQ(manifest["configuration"]["lanes"], 8);
  EXPECT_EQ(manifest["configuration"]["seed"], 5);
  EXPECT_EQ(manifest["data"]["train_samples"], 1437);
  EXPECT_EQ(manifest["rank_seeds"].size(), manifest["configuration"]["ranks"].get<size_t>());
  std::ifstream metrics(path("run/metrics.jsonl"));
  int steps = 0;
  for (std::string line; std::getline(metrics, line);) steps += nlohmann::json::parse(line)["kind"] == "step";
  EXPECT_EQ(steps, 3);

  const Outcome evaluated =
      run("evaluate --model lenet5 --data digits --resize 28 --batch 64 --weights " + path("run/weights.safetensors"));
  ASSERT_EQ(evaluated.code, 0) << evaluated.text;
  EXPECT_EQ(line_after(evaluated.text, "weights sha256 "), sha);
  EXPECT_EQ(line_after(evaluated.text, "test accuracy "), line_after(trained.text, "test accuracy "));
}

TEST_F(Cli, TheSameWeightsForEveryNumberOfRanksAndTwice) {
  const std::string sha = line_after(run(small + "--ranks 1").text, "weights sha256 ");
  EXPECT_EQ(sha.size(), 64U);
  for (const char* ranks : {"1", "2", "4", "8", "auto"})
    EXPECT_EQ(line_after(run(small + "--ranks " + ranks).text, "weights sha256 "), sha) << ranks;
  EXPECT_NE(line_after(run(small + "--seed 6").text, "weights sha256 "), sha);
  EXPECT_EQ(line_after(run(small + "--check-finite").text, "weights sha256 "), sha);
}

TEST_F(Cli, FastModeTrainsToo) {
  const Outcome outcome = run(small + "--numerics fast --ranks 2 --threads 1");
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_TRUE(contains(outcome.text, "lanes 2, numerics fast"));
}

TEST_F(Cli, SchedulesAndAugmentationTellInTheWeightsAndInTheManifest) {
  const std::string plain = line_after(run(small).text, "weights sha256 ");
  const Outcome outcome = run(small + "--schedule cosine --warmup 2 --augment crop:2,flip --out " + path("run"));
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_NE(line_after(outcome.text, "weights sha256 "), plain);
  const auto configuration = nlohmann::json::parse(read(path("run/manifest.json")))["configuration"];
  EXPECT_EQ(configuration["schedule"], "cosine");
  EXPECT_EQ(configuration["warmup"], 2);
  EXPECT_EQ(configuration["augment"], "crop:2,flip");
}

TEST_F(Cli, SaysOnStderrWhatItIsAskedToSay) {
  const std::string crowded = small + "--quiet --ranks 8 --threads 64 --log ";
  EXPECT_TRUE(contains(run(crowded + "warning").text, "lockstep: warning: 8 ranks of 64 threads share "));
  EXPECT_FALSE(contains(run(crowded + "error").text, "lockstep: "));
  EXPECT_TRUE(contains(run(crowded + "debug").text, "lockstep: debug: rank 7: planned a step of "));
}

TEST_F(Cli, SummaryPlanVersionAndHelp) {
  EXPECT_TRUE(contains(run("summary --model seed_cnn --data synthetic:224x224x3/10/8").text, "Total params: 29,002"));
  const Outcome plan = run("plan --model lenet5 --resize 28 --batch 64");
  for (const char* part : {"conv2d/weight_grad", "all_reduce", "max_pool 2x2 stride 2x2 +relu", "memory of one rank"})
    EXPECT_TRUE(contains(plan.text, part)) << part;
  EXPECT_TRUE(contains(run("version").text, "onednn"));
  EXPECT_EQ(run("--help").code, 0);
}

struct Bad {
  const char* arguments;
  std::vector<std::string> says;
};

TEST_F(Cli, BadInputIsRefusedWithTwo) {
  const std::vector<Bad> cases{
      {"", {"a command is missing"}},
      {"tarin", {"tarin", "did you mean 'train'"}},
      {"train --modle lenet5", {"unknown option '--modle'", "did you mean '--model'"}},
      {"train --model lenet6", {"unknown model 'lenet6'", "did you mean 'lenet5'"}},
      {"train --model none.json", {"none.json", "cannot read", "No such file"}},
      {"train --data digit", {"digits"}},
      {"train --data idx:/nowhere", {"/nowhere"}},
      {"train --data synthetic:8x8", {"synthetic:HxWxC/CLASSES/COUNT"}},
      {"train --optimizer adm", {"did you mean 'adam'"}},
      {"train --numerics fsat", {"did you mean 'fast'"}},
      {"train --strategy date", {"did you mean 'data'"}},
      {"train --ranks two", {"--ranks is 'two'", "expected auto or a number"}},
      {"train --resize 32 --batch 30", {"batch 30", "8 lanes", "24 or 32 would fit"}},
      {"train --resize 32 --lanes 6 --batch 60", {"lanes is 6", "power of two"}},
      {"train --resize 32 --ranks 3", {"8 lanes", "3 ranks", "1, 2, 4, 8"}},
      {"train --model lenet5", {"conv2d_1", "5x5", "[1, 4, 4, 6]"}},
      {"train --lr -1", {"--lr is -1"}},
      {"train --weight-decay -1", {"--weight-decay is -1"}},
      {"train --warmup -1", {"--warmup is -1"}},
      {"train --schedule cosin", {"unknown schedule 'cosin'", "did you mean 'cosine'"}},
      {"train --augment crop:x", {"augmentation 'crop:x'", "crop:PIXELS"}},
      {"train --log warnings", {"unknown log level 'warnings'", "did you mean 'warning'"}},
      {"train --batch 0", {"batch"}},
      {"train --epochs 0 --resize 32", {"epochs"}},
      {"train --resize 0", {"size '0'", "HEIGHTxWIDTH"}},
      {"train --resize 32 --out /proc/nothing", {"/proc/nothing"}},
      {"evaluate --weights /nowhere", {"/nowhere"}},
  };
  for (const auto& [arguments, says] : cases) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, 2) << arguments << "\n" << outcome.text;
    for (const std::string& part : says) EXPECT_TRUE(contains(outcome.text, part)) << arguments << "\n" << outcome.text;
    EXPECT_EQ(count(outcome.text, "lockstep: error"), 1U) << arguments << "\n" << outcome.text;
  }
}

TEST_F(Cli, ABadModelFileIsToldWithItsLine) {
  std::ofstream(path("m.json"))
      << "{\n  \"layers\": [\n    {\"type\": \"Input\", \"shape\": [8, 8, 1]},\n"
         "    {\"type\": \"Conv2D\", \"filterz\": 3, \"kernel_size\": 3, \"filters\": 2}\n  ]\n}\n";
  const Outcome outcome = run("train --model " + path("m.json"));
  EXPECT_EQ(outcome.code, 2);
  EXPECT_TRUE(contains(outcome.text, "m.json:4")) << outcome.text;
  EXPECT_TRUE(contains(outcome.text, "'filterz'")) << outcome.text;
}

TEST_F(Cli, AFolderWithAnotherRunIsLeftAlone) {
  ASSERT_EQ(run(small + "--quiet --out " + path("run")).code, 0);
  const std::string before = read(path("run/manifest.json"));
  const Outcome again = run(small + "--out " + path("run"));
  EXPECT_EQ(again.code, 2);
  EXPECT_TRUE(contains(again.text, "holds")) << again.text;
  EXPECT_EQ(read(path("run/manifest.json")), before);
}

TEST_F(Cli, RefusedInputLeavesNoFolder) {
  EXPECT_EQ(run("train --resize 32 --batch 30 --out " + path("none")).code, 2);
  EXPECT_FALSE(fs::exists(path("none")));
}

TEST_F(Cli, ADivergingRunNamesStepAndNode) {
  const std::string diverges = "train --model seed_cnn --resize 32 --optimizer sgd --lr 1e30 --steps 20 --ranks 2 ";
  const Outcome plain = run(diverges);
  EXPECT_EQ(plain.code, 1) << plain.text;
  EXPECT_TRUE(contains(plain.text, "--check-finite")) << plain.text;
  const Outcome checked = run(diverges + "--check-finite");
  EXPECT_EQ(checked.code, 1);
  EXPECT_TRUE(contains(checked.text, "node '")) << checked.text;
  EXPECT_TRUE(contains(checked.text, "step ")) << checked.text;
}

TEST_F(Cli, TheExampleTrains) {
  std::FILE* pipe = ::popen(LOCKSTEP_BINARY_DIR "/example_digits", "r");
  std::string text;
  std::array<char, 4096> buffer{};
  while (const size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe)) text.append(buffer.data(), got);
  EXPECT_EQ(::pclose(pipe), 0);
  EXPECT_GT(std::stod("0" + line_after(text, "test accuracy ")), 85) << text;
}

}  // namespace
