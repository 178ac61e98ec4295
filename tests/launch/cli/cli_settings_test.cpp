// Options from a file and from the environment: which one wins, what is refused; a run repeated from its manifest; and
// the shells' completion, which is made from the same description.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/log.h"
#include "launch/lockstep.h"
#include "tests/support/paths.h"
#include "tests/support/run_command.h"
#include "tests/support/temporary_folder.h"

namespace {

using namespace lockstep::test;
using lockstep::testing::TemporaryFolder;

Outcome run(const std::string& arguments, const std::string& before = "") {
  return run_command(before + " " + binary_dir() + "/lockstep " + arguments);
}

const std::string small = "train --model lenet5 --data digits --resize 28 --batch 64 --steps 2 --ranks 1 ";

class CliSettings : public testing::Test {
 protected:
  TemporaryFolder folder_;
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string file(const std::string& contents) const {
    std::ofstream(path("config.json")) << contents;
    return path("config.json");
  }
};

TEST_F(CliSettings, TheCommandLineWinsOverTheEnvironmentAndThatOverTheFile) {
  const std::string config =
      "train --config " + file(R"({"model": "lenet5", "resize": "28", "batch": 64, "steps": 2, "ranks": 1, "seed": 5,
                                      "recompute": ["conv*", "*pool*"], "check-finite": true, "lr": 0.002})");
  const std::string others = small + "--recompute 'conv*,*pool*' --check-finite --lr 0.002 ";
  const auto sha = [](const Outcome& outcome) { return outcome.line_after("weights sha256 "); };
  const Outcome plain = run(config);
  ASSERT_EQ(plain.code, 0) << plain.text;
  EXPECT_TRUE(plain.says("batch 64, lanes 8, numerics reproducible, seed 5")) << plain.text;
  EXPECT_EQ(sha(plain), sha(run(others + "--seed 5")));
  EXPECT_EQ(sha(run(config, "LOCKSTEP_SEED=6")), sha(run(others + "--seed 6")));
  EXPECT_EQ(sha(run(config + " --seed 7", "LOCKSTEP_SEED=6")), sha(run(others + "--seed 7")));
  EXPECT_NE(sha(run(config, "LOCKSTEP_SEED=6")), sha(plain));
  EXPECT_EQ(sha(run(config, "LOCKSTEP_SEED=")), sha(plain)) << "an empty one counts as none";
  EXPECT_TRUE(run("train", "LOCKSTEP_CONFIG=" + path("config.json")).says("seed 5"));
  EXPECT_EQ(run("version", "LOCKSTEP_SEED=6").code, 0) << "an option of other commands";
}

TEST_F(CliSettings, ARunIsRepeatedFromItsManifest) {
  const Outcome first =
      run(small + "--seed 9 --optimizer sgd --lr 0.1 --augment flip --shard-optimizer --out " + path("first"),
          "LOCKSTEP_LANES=4");
  ASSERT_EQ(first.code, 0) << first.text;
  const Outcome again = run("train --config " + path("first/manifest.json") + " --out " + path("again"));
  ASSERT_EQ(again.code, 0) << again.text;
  EXPECT_EQ(again.line_after("weights sha256 "), first.line_after("weights sha256 "));
  const auto manifest = [&](const std::string& name) {
    return nlohmann::json::parse(std::ifstream(path(name + "/manifest.json")));
  };
  EXPECT_EQ(manifest("first")["options"], manifest("again")["options"]);
  EXPECT_EQ(manifest("first")["options"]["lanes"], 4);
  EXPECT_EQ(manifest("first")["options"]["shard-optimizer"], true);
  EXPECT_FALSE(manifest("first")["options"].contains("out"));
  EXPECT_EQ(manifest("first")["configuration"]["shard_optimizer"], true) << "of all options";
  EXPECT_EQ(manifest("first")["configuration"]["cache"], false);
  EXPECT_EQ(manifest("first")["configuration"]["early_stopping"], nullptr);
  EXPECT_FALSE(manifest("first")["configuration"].contains("out"));
  EXPECT_NE(run("train --seed 8 --config " + path("first/manifest.json")).line_after("weights sha256 "),
            first.line_after("weights sha256 "));
  const Outcome tested =
      run("evaluate --config " + path("first/manifest.json") + " --weights " + path("first/weights.safetensors"));
  EXPECT_EQ(tested.line_after("test accuracy "), first.line_after("test accuracy ")) << tested.text;
}

TEST_F(CliSettings, WhatDoesNotFitIsRefusedWithItsPlace) {
  const std::vector<std::tuple<std::string, std::string, std::vector<std::string>>> files{
      {"train", "{\n\"batch\": 64,\n\"modle\": 1}", {"config.json:3: modle", "unknown option 'modle'", "mean 'model'"}},
      {"train", "{\n\"batch\": \"many\"}", {"config.json:2: batch", "--batch is 'many', expected a whole number"}},
      {"train", "{\"batch\": 64.5}", {"--batch is '64.5', expected a whole number"}},
      {"train", "{\"batch\": [64, 32]}", {"batch", "expected a text or a number, got [64,32]"}},
      {"train", "{\"batch\": {\"a\": 1}}", {"batch", "expected a text or a number"}},
      {"train", "{\"batch\": null}", {"batch", "got null"}},
      {"train", "{\"quiet\": 3}", {"quiet", "expected true or false, got 3"}},
      {"train", "{\"seed\": -1}", {"seed", "expected a number from 0"}},
      {"train", "{\"options\": {\"bach\": 1}}", {"options.bach", "did you mean 'batch'"}},
      {"train", "{\"config\": \"x.json\"}", {"one file cannot name another"}},
      {"train", "[1]", {"expected an object"}},
      {"train", "{\"batch\": 64", {"config.json:1"}},
      {"train", "{\"batch\": 64, \"batch\": 32}", {"'batch'", "second time"}},
      {"train", "{\"model\": \"lenet6\"}", {"unknown model 'lenet6'", "did you mean 'lenet5'"}},
  };
  for (const auto& [verb, contents, says] : files) {
    const Outcome outcome = run(verb + " --config " + file(contents));
    EXPECT_EQ(outcome.code, 2) << contents << "\n" << outcome.text;
    for (const std::string& part : says) EXPECT_TRUE(outcome.says(part)) << contents << "\n" << outcome.text;
  }
  const std::vector<std::pair<std::string, std::vector<std::string>>> variables{
      {"LOCKSTEP_BACH=64", {"environment variable LOCKSTEP_BACH", "did you mean 'LOCKSTEP_BATCH'"}},
      {"LOCKSTEP_BATCH=many", {"environment variable LOCKSTEP_BATCH", "--batch is 'many', expected a whole number"}},
      {"LOCKSTEP_SEED=-1", {"environment variable LOCKSTEP_SEED", "expected a number from 0"}},
      {"LOCKSTEP_QUIET=perhaps", {"environment variable LOCKSTEP_QUIET", "expected true or false"}},
      {"LOCKSTEP_CONFIG=/nowhere.json", {"/nowhere.json", "No such file"}},
  };
  for (const auto& [variable, says] : variables) {
    const Outcome outcome = run("train", variable);
    EXPECT_EQ(outcome.code, 2) << variable << "\n" << outcome.text;
    for (const std::string& part : says) EXPECT_TRUE(outcome.says(part)) << variable << "\n" << outcome.text;
  }
  EXPECT_EQ(run("version", "LOCKSTEP_COMM_TIMEOUT=5 LOCKSTEP_TEST_BACKEND=cpu LOCKSTEP_BUILD=x").code, 0);
}

/// What bash offers for the last of `words`, where all before it stand, as lines.
Outcome complete(const std::string& words) {
  return run_command("bash -c '. <(" + binary_dir() + "/lockstep completion bash); compopt() { :; }; COMP_WORDS=(" +
                     words +
                     "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _lockstep; printf \"%s\\n\" \"${COMPREPLY[@]}\"'");
}

TEST_F(CliSettings, EveryCommandHasAnExample) {
  std::istringstream verbs(complete("lockstep \"\"").text);
  int seen = 0;
  for (std::string verb; std::getline(verbs, verb);) {
    if (verb.starts_with("-")) continue;
    const Outcome help = run(verb + " --help");
    EXPECT_EQ(help.code, 0);
    EXPECT_TRUE(help.says("\n  lockstep " + verb)) << help.text;
    ++seen;
  }
  EXPECT_GE(seen, 9);
}

TEST_F(CliSettings, HelpOfManyOptionsIsByTopic) {
  const Outcome brief = run("train --help"), loss = run("train --help loss"), all = run("train --help all");
  for (const Outcome* help : {&brief, &loss, &all}) EXPECT_EQ(help->code, 0) << help->text;
  EXPECT_TRUE(brief.says("\n  loss        --loss ")) << brief.text;
  EXPECT_TRUE(brief.says("--early-stopping")) << brief.text;
  EXPECT_FALSE(brief.says("Stop after so many steps")) << brief.text;
  EXPECT_LE(std::ranges::count(brief.text, '\n'), 50) << brief.text;
  EXPECT_TRUE(loss.says("--label-smoothing")) << loss.text;
  EXPECT_FALSE(loss.says("--early-stopping")) << loss.text;
  EXPECT_TRUE(all.says("Stop after so many steps")) << all.text;
  EXPECT_TRUE(all.says("--label-smoothing")) << all.text;
  EXPECT_FALSE(all.says("--predict")) << "a former name\n" << all.text;
  EXPECT_TRUE(run("summary --help").says("Options from this JSON file")) << "few options";
  const Outcome wrong = run("train --help los");
  EXPECT_EQ(wrong.code, 2);
  EXPECT_TRUE(wrong.says("did you mean 'loss'")) << wrong.text;
}

TEST_F(CliSettings, BashCompletesCommandsOptionsAndValues) {
  EXPECT_EQ(run_command(binary_dir() + "/lockstep completion bash | bash -n").text, "");
  EXPECT_EQ(complete("lockstep tr").text, "train\n");
  EXPECT_EQ(complete("lockstep train --mod").text, "--model\n");
  EXPECT_EQ(complete("lockstep train --model lene").text, "lenet5\n");
  EXPECT_EQ(complete("lockstep train --model = lene").text, "lenet5\n");
  EXPECT_EQ(complete("lockstep train --backend \"\"").text, "auto\ncpu\ncuda\n");
  EXPECT_EQ(complete("lockstep train --data id").text, "idx:\n");
  EXPECT_EQ(complete("lockstep train --batch \"\"").text, "\n") << "a number cannot be guessed";
  EXPECT_EQ(complete("lockstep summary --bat").text, "\n") << "an option of others";
  EXPECT_EQ(complete("lockstep completion z").text, "zsh\n");
  EXPECT_EQ(complete("lockstep data info im").text, "images:\n");
  EXPECT_EQ(complete("lockstep predict --format \"\"").text, "text\ncsv\njson\n");
  EXPECT_EQ(complete("lockstep export --format \"\"").text, "torch\nkeras\njson\npreparation\n");
  EXPECT_EQ(complete("lockstep train --resize 224:2").text, "\n") << "a number cannot be guessed";
  file("{}");
  EXPECT_EQ(complete("lockstep train --config " + path("con")).text, path("config.json") + "\n");
}

std::string lines(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += name + "\n";
  return text;
}

TEST_F(CliSettings, BashCompletesTheNamesThatOptionsAreCheckedBy) {
  using namespace lockstep;
  const std::vector<std::pair<std::string, std::vector<std::string>>> all{
      {"optimizer", Optimizer::names()},       {"schedule", Schedule::names()}, {"loss", Loss::names()},
      {"precision", precision_names()},        {"backend", backend_names()},    {"comm", comm_names()},
      {"pipeline", pipeline_schedule_names()}, {"log", log_levels()},           {"on-corrupt", on_corrupt_names()},
      {"numerics", {"reproducible", "fast"}}};
  for (const auto& [option, names] : all) {
    EXPECT_EQ(complete("lockstep train --" + option + " \"\"").text, lines(names));
    // The check knows the same ones, and no other.
    const Outcome other = run("train --data digits --steps 1 --" + option + " no_such_name");
    EXPECT_EQ(other.code, 2) << option;
    for (const std::string& name : names) EXPECT_TRUE(other.says(name)) << other.text;
  }
}

TEST_F(CliSettings, BashCompletesListsWordByWord) {
  EXPECT_EQ(complete("lockstep train --metrics mean_i").text, "mean_iou\n");
  EXPECT_EQ(complete("lockstep train --metrics accuracy,f1,mean_i").text, "accuracy,f1,mean_iou\n");
  EXPECT_EQ(complete("lockstep evaluate --metrics = accuracy,mean_i").text, "accuracy,mean_iou\n");
  EXPECT_EQ(complete("lockstep train --augment cro").text, "crop:\n");
  EXPECT_EQ(complete("lockstep train --augment crop : 2").text, "\n") << "a number cannot be guessed";
  EXPECT_EQ(complete("lockstep train --augment crop : 2,ro").text, "2,rotate:\n");
  EXPECT_EQ(complete("lockstep train --augment = crop : 2,rotate : 10,cutm").text, "10,cutmix:\n");
  file("{}");
  EXPECT_EQ(complete("lockstep train --data idx : " + path("con")).text, path("config.json") + "\n");
  EXPECT_EQ(complete("lockstep pack idx : " + path("con")).text, path("config.json") + "\n");
}

TEST_F(CliSettings, OtherShellsTakeTheirScripts) {
  for (const std::string shell : {"zsh", "fish"}) {
    const Outcome script = run("completion " + shell);
    EXPECT_EQ(script.code, 0);
    for (const char* part : {"lockstep", "train", "model", "lenet5", "auto"}) EXPECT_TRUE(script.says(part)) << part;
    if (run_command("command -v " + shell).code != 0) continue;
    const Outcome parsed = run_command(binary_dir() + "/lockstep completion " + shell + " > " + path("script") +
                                       " && " + shell + " -n " + path("script"));
    EXPECT_EQ(parsed.code, 0) << parsed.text;
  }
  EXPECT_TRUE(run("completion tcsh").says("unknown shell 'tcsh'"));
  EXPECT_EQ(run("completion").code, 2);
}

}  // namespace
