// Runs of the program that are ended by signals and go on: exit codes, the run folder, and what is refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "launch/record/checkpoint_folder.h"
#include "tests/support/paths.h"
#include "tests/support/run_command.h"
#include "tests/support/temporary_folder.h"

namespace {

namespace fs = std::filesystem;
using namespace lockstep::test;
using lockstep::testing::read_text;
using lockstep::testing::TemporaryFolder;

const std::string program = binary_dir() + "/lockstep ";
const std::string small = "train --model lenet5 --data digits --resize 28 --batch 64 --lanes 4 --seed 5 --quiet ";

Outcome run(const std::string& arguments) { return run_command(program + arguments); }

class ResumeCli : public testing::Test {
 protected:
  TemporaryFolder folder_;
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }

  /// metrics.jsonl but for the times.
  std::vector<nlohmann::json> metrics(const std::string& run) const {
    std::vector<nlohmann::json> lines;
    std::istringstream text(read_text(path(run) + "/metrics.jsonl"));
    for (std::string line; std::getline(text, line);) {
      lines.push_back(nlohmann::json::parse(line));
      for (const char* time : {"images_per_second", "data_share"}) lines.back().erase(time);
    }
    return lines;
  }
  nlohmann::json manifest(const std::string& run) const {
    return nlohmann::json::parse(read_text(path(run) + "/manifest.json"));
  }
  /// Starts `command`, which writes the metrics of `run`, and sends `signal` to the process in the file `pid` once
  /// there are some.
  Outcome interrupt(const std::string& command, const std::string& signal, const std::string& pid) const {
    return run_command(command + " & job=$!\nfor i in $(seq 600); do [ $(cat " + path("run/metrics.jsonl") +
                       " 2>/dev/null | wc -l) -ge 8 ] && break; sleep 0.05; done\nkill -" + signal + " $(cat " +
                       path(pid) + ")\nwait $job");
  }
  /// A command that writes its process' number before it becomes the program.
  std::string noted(const std::string& arguments, const std::string& name) const {
    return "sh -c 'echo $$ > " + path(name) + "; exec " + program + arguments + "'";
  }
};

TEST_F(ResumeCli, ASignalEndsTheStepAndTheRunGoesOnAsIfNothingHadBeen) {
  const std::string all = small + "--schedule linear --epochs 300 --steps 6900 ";
  for (const std::string signal : {"TERM", "INT"}) {
    const Outcome stopped = interrupt(noted(all + "--ranks 2 --out " + path("run"), "pid"), signal, "pid");
    ASSERT_EQ(stopped.code, 0) << stopped.text;
    EXPECT_TRUE(stopped.says("interrupted by SIG" + signal)) << stopped.text;
    EXPECT_FALSE(stopped.says("weights sha256"));
    const auto noted = manifest("run");
    EXPECT_EQ(noted["interrupted"]["signal"], "SIG" + signal);
    EXPECT_TRUE(noted["ended"].is_null());
    const int64_t step = noted["interrupted"]["step"];
    EXPECT_GE(step, 7);
    EXPECT_EQ(metrics("run").back()["step"], step - 1) << "the last step was finished, and is the last";
    const fs::path checkpoint = noted["interrupted"]["checkpoint"].get<std::string>();
    EXPECT_EQ(lockstep::checkpoint_step(checkpoint), step);
    EXPECT_EQ(run("evaluate --model lenet5 --data digits --resize 28 --weights " + checkpoint.string()).code, 0);
    fs::remove_all(path("run"));
  }
}

TEST_F(ResumeCli, MetricsAndWeightsAreThoseOfAnUnbrokenRun) {
  const std::string all = small + "--schedule linear --epochs 2 ";
  const Outcome straight = run(all + "--ranks 1 --out " + path("straight"));
  ASSERT_EQ(straight.code, 0) << straight.text;
  // Checkpoints after steps 15, 30 and 45 of 46; goes on from the first in another folder, and from
  // the second in its own.
  ASSERT_EQ(run(all + "--ranks 2 --checkpoint-every 15 --out " + path("run")).code, 0);
  EXPECT_EQ(lockstep::list_checkpoints(path("run") + "/checkpoints").size(), 3U);
  const auto expected = metrics("straight");
  for (const auto& [from, to] :
       {std::pair{"run/checkpoints/step-000015", "other"}, {"run/checkpoints/step-000030", "run"}}) {
    const std::string out = std::string(to) == "run" ? "" : " --keep 1 --out " + path(to);
    const Outcome resumed = run(all + "--ranks 4 --checkpoint-every 1epoch --resume " + path(from) + out);
    ASSERT_EQ(resumed.code, 0) << resumed.text;
    EXPECT_EQ(resumed.line_after("weights sha256 "), straight.line_after("weights sha256 "));
    EXPECT_EQ(metrics(to), expected) << to;
    EXPECT_EQ(manifest(to)["resumed"][0]["checkpoint"], path(from));
    EXPECT_EQ(manifest(to)["result"]["loss"], manifest("straight")["result"]["loss"]);
  }
  EXPECT_TRUE(fs::exists(path("other/checkpoints/step-000046"))) << "after the second epoch";
}

TEST_F(ResumeCli, CallbacksGoOnToo) {
  // A rate so high that validations get worse, and it is lowered.
  const std::string all = small +
                          "--optimizer momentum --lr 0.05 --epochs 12 --validation-split 0.2 --early-stopping 2 "
                          "--reduce-on-plateau 0.5,1 --checkpoint-best --csv ";
  const Outcome straight = run(all + "--out " + path("straight"));
  ASSERT_EQ(straight.code, 0) << straight.text;
  ASSERT_LT(metrics("straight").back()["lr"], 0.05);
  // 18 steps an epoch; what the first run wrote after its last checkpoint is taken off.
  ASSERT_EQ(run(all + "--steps 115 --checkpoint-every 100 --out " + path("run")).code, 0);
  const Outcome resumed = run(all + "--ranks 2 --resume " + path("run"));
  ASSERT_EQ(resumed.code, 0) << resumed.text;
  EXPECT_EQ(resumed.line_after("weights sha256 "), straight.line_after("weights sha256 "));
  EXPECT_EQ(metrics("run"), metrics("straight"));
  for (const char* file : {"/log.csv", "/best.safetensors"})
    EXPECT_EQ(read_text(path("run") + file), read_text(path("straight") + file)) << file;
}

TEST_F(ResumeCli, AnotherFolderGetsTheLogsAndTheBestWeights) {
  // The rate grows until nothing is learned any more, so that the best epoch lies before some of the checkpoints.
  const std::string all = small + "--optimizer momentum --lr 0.005 --schedule exponential --decay-rate 2 " +
                          "--decay-steps 12 --epochs 6 --validation-split 0.2 --metrics auto,top_k:3 " +
                          "--checkpoint-best --csv --tensorboard --keep 6 --checkpoint-every 1epoch ";
  const Outcome straight = run(all + "--out " + path("straight"));
  ASSERT_EQ(straight.code, 0) << straight.text;
  const auto checkpoints = lockstep::list_checkpoints(path("straight") + "/checkpoints");
  ASSERT_EQ(checkpoints.size(), 6U);
  const auto expected = manifest("straight")["result"];
  ASSERT_TRUE(expected.contains("train_loss") && expected.contains("train_top_k:3"));
  std::vector<double> losses;
  for (const auto& line : metrics("straight"))
    if (line["kind"] == "epoch") losses.push_back(line["val_loss"]);
  ASSERT_EQ(losses.size(), 6U);
  ASSERT_LT(std::ranges::min_element(losses) - losses.begin(), 4) << "the best epoch is late: this tests little";
  for (const fs::path& checkpoint : checkpoints) {
    const std::string name = "from-" + checkpoint.filename().string();
    const Outcome resumed = run(all + "--ranks 2 --resume " + checkpoint.string() + " --out " + path(name));
    ASSERT_EQ(resumed.code, 0) << resumed.text;
    for (const char* file : {"/log.csv", "/best.safetensors"})
      EXPECT_EQ(read_text(path(name) + file), read_text(path("straight") + file)) << name << file;
    EXPECT_EQ(metrics(name), metrics("straight")) << name;
    const auto events = [&](const std::string& run) {
      return std::distance(fs::directory_iterator(path(run) + "/tensorboard"), {});
    };
    EXPECT_EQ(events(name), events("straight") + 1) << "those of the run before, and its own";
    auto result = manifest(name)["result"];
    EXPECT_EQ(result.contains("images_per_second"), checkpoint != checkpoints.back());
    for (const auto& [key, value] : expected.items())
      if (key != "images_per_second") {
        EXPECT_EQ(result[key], value) << name << " " << key;
      }
  }
  // In its own folder, from a step before the epochs that the files there tell of.
  ASSERT_EQ(run(all + "--steps 36 --resume " + checkpoints[0].string()).code, 0);
  ASSERT_EQ(run(all + "--steps 36 --out " + path("short")).code, 0);
  for (const char* file : {"/log.csv", "/best.safetensors"})
    EXPECT_EQ(read_text(path("straight") + file), read_text(path("short") + file)) << file;
}

TEST_F(ResumeCli, ARunMayBecomeLongerWhereItsRatesStay) {
  const std::string fixed = small + "--schedule exponential --decay-steps 10 ",
                    bound = small + "--schedule exponential ";
  const Outcome straight = run(fixed + "--epochs 2");
  ASSERT_EQ(run(fixed + "--epochs 1 --checkpoint-every 1epoch --out " + path("run")).code, 0);
  const Outcome longer = run(fixed + "--epochs 2 --resume " + path("run"));
  ASSERT_EQ(longer.code, 0) << longer.text;
  EXPECT_EQ(longer.line_after("weights sha256 "), straight.line_after("weights sha256 "));
  ASSERT_EQ(run(bound + "--epochs 1 --checkpoint-every 1epoch --out " + path("bound")).code, 0);
  const Outcome refused = run(bound + "--epochs 2 --resume " + path("bound"));
  EXPECT_EQ(refused.code, 2) << refused.text;
  EXPECT_TRUE(refused.says("schedule/steps is 23 in the checkpoint, 46 in this run")) << refused.text;
}

TEST_F(ResumeCli, AKilledRunsLastCheckpointAlwaysLoads) {
  const Outcome outcome = run_command(source_dir() + "/tests/kill_checkpoints " + binary_dir() + " 6");
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_TRUE(outcome.says("6 kills")) << outcome.text;
}

TEST_F(ResumeCli, WhatCannotGoOnIsRefused) {
  const std::string run8 = small + "--steps 8 --checkpoint-every 4 --out " + path("run");
  ASSERT_EQ(run(run8).code, 0);
  const std::string resume = " --resume " + path("run");
  const auto refused = [&](const std::string& arguments, const std::vector<std::string>& parts) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, 2) << arguments << "\n" << outcome.text;
    for (const std::string& part : parts) EXPECT_TRUE(outcome.says(part)) << arguments << "\n" << outcome.text;
  };
  const std::string before = read_text(path("run/manifest.json"));
  refused(small + "--steps 9 --seed 6" + resume, {"step-000008", "seed is \"5\" in the checkpoint, \"6\" in this run"});
  refused(small + "--steps 9 --model seed_cnn --resize 32" + resume,
          {"model is \"lenet5\"", "\"seed_cnn\" in this run"});
  refused(small + "--steps 9 --validation-split 0.25" + resume,
          {"data/sha256 is", "; --validation-split is \"0.25\", the run had none"});
  refused(small + "--steps 9 --normalise none" + resume, {"; --normalise is \"none\", the run had \"auto\""});
  refused(small + "--steps 6" + resume, {"8 steps of the fit are done already"});
  refused(small + "--resume " + path("none"), {"none' is no folder"});
  refused(small + "--resume " + folder_.path().string(), {"holds no checkpoint"});
  refused(small + "--checkpoint-every 5s --out " + path("x"), {"--checkpoint-every is '5s'", "500", "1epoch"});
  refused(small + "--checkpoint-every 5", {"expected --out or --checkpoint-dir"});
  refused(small + "--keep 0", {"--keep is 0"});
  refused(small + "--checkpoint-dir " + path("run/checkpoints"), {"holds checkpoints of another run", "--resume "});
  EXPECT_EQ(read_text(path("run/manifest.json")), before);
  const std::string split = small + "--validation-split 0.25 --checkpoint-every 2 ";
  ASSERT_EQ(run(split + "--steps 2 --out " + path("split")).code, 0);
  refused(split + "--steps 4 --seed 6 --resume " + path("split"), {"; --seed is 6, the run had 5"});
  ASSERT_EQ(run(split + "--steps 2 --checkpoint-dir " + path("alone")).code, 0);
  refused(small + "--validation-split 0.25 --steps 4 --seed 6 --resume " + path("alone"),
          {"data/sha256 is", "depends on --data, --resize", "--seed"});
  fs::resize_file(path("run/checkpoints/step-000008/weights.safetensors"), 1000);
  refused(small + "--steps 9" + resume,
          {"weights.safetensors: ends at byte 1000", "--resume " + path("run/checkpoints/step-000004")});
}

}  // namespace
