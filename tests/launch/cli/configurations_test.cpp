// Random training runs, each by several ways that may not change its bits: ranks, stages, sharding, recomputation,
// workers, caching, accumulation, mpirun, kills and resumes. All ways of a run have one hash of the weights, and the
// same metrics, logs, evaluation and predictions. LOCKSTEP_TEST_CONFIGURATIONS=N runs N of them,
// LOCKSTEP_TEST_SEED=S from this seed on.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "tests/launch/cli/random_configuration.h"
#include "tests/support/paths.h"
#include "tests/support/run_command.h"
#include "tests/support/temporary_folder.h"

namespace lockstep::test {
namespace {

namespace fs = std::filesystem;

const std::string program = binary_dir() + "/lockstep ";

/// What a run has left, by name: all that may not depend on the way.
using Left = std::map<std::string, std::string>;

std::string without_times(const std::string& lines) {
  std::string text;
  std::istringstream all(lines);
  for (std::string line; std::getline(all, line);) {
    auto json = nlohmann::ordered_json::parse(line);
    for (const char* time : {"images_per_second", "data_share"}) json.erase(time);
    text += json.dump() + "\n";
  }
  return text;
}

/// What is not the same in both.
std::string difference(const Left& one, const Left& other) {
  std::string text;
  for (const auto& [name, value] : one)
    if (const auto found = other.find(name); found == other.end() || found->second != value)
      text += fmt::format("{} is {}\n  and  {}\n", name, value.substr(0, 400),
                          found == other.end() ? "not there" : found->second.substr(0, 400));
  for (const auto& [name, value] : other)
    if (!one.contains(name)) text += fmt::format("{} is there once\n", name);
  return text;
}

class Case {
 public:
  explicit Case(uint64_t seed)
      : seed_(seed), dice_(seed + 500'000), c_(ConfigurationDraw(seed, folder_.path()).draw()) {}

  void run() {
    const std::string out = path("straight");
    straight_ = train(plain(), out);
    if (straight_.empty()) return;
    const std::string one = any_way(), folder = path("one");
    if (const Left left = train(one, folder); !left.empty()) {
      expect_equal(left, straight_, one);
      expect_equal(used(folder, " --ranks 2 --workers 2"), used(out, ""), "evaluate and predict on two ranks");
    }
    const std::string another = under_mpirun(any_way());
    expect_same(train(another, path("another")), another);
    pack();
    repeat();
    resume();
    kill();
    controls();
  }

 private:
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }

  std::string batches(int64_t accumulate) const {
    return fmt::format("--batch {} --lanes {} --accumulate {} ", c_.lanes / accumulate * c_.lane_size,
                       c_.lanes / accumulate, accumulate);
  }
  /// On one rank, with nothing beside it.
  std::string plain() const { return batches(c_.accumulate) + "--ranks 1 --workers 1"; }

  /// Another way to the same bits, ending in its number of ranks.
  std::string any_way() {
    int64_t accumulate = int64_t{1} << dice_.roll(0, 3);
    while (accumulate > c_.lanes) accumulate /= 2;
    std::string way = batches(accumulate);
    int64_t ranks = int64_t{1} << dice_.roll(0, 3);
    while (ranks > c_.lanes) ranks /= 2;
    if (const int64_t stages = dice_.roll(0, 2) == 0 ? 2 : 1; stages > 1) {
      ranks = std::min<int64_t>(ranks, 4);
      way += fmt::format("--strategy data={},stage=2 --pipeline {} ", ranks, dice_.coin() ? "1f1b" : "gpipe");
      ranks *= stages;
    }
    if (dice_.coin()) way += "--shard-optimizer ";
    if (dice_.coin())
      way += fmt::format("--recompute '{}' ",
                         dice_.coin() ? "*" : c_.layers.at(dice_.roll(1, static_cast<int64_t>(c_.layers.size()) - 1)));
    if (c_.files && !c_.resized_crop && dice_.coin()) way += "--cache ";
    if (dice_.roll(0, 4) == 0) way += "--profile ";
    way += fmt::format("--workers {} ", dice_.roll(1, 3));
    return way + fmt::format("--ranks {}", ranks);
  }

  /// The same by as many processes, where there is an mpirun and it is not too many of them.
  std::string under_mpirun(const std::string& way) {
    const std::string ranks = way.substr(way.rfind(' ') + 1);
    if (mpiexec().empty() || (ranks != "2" && ranks != "4")) return way;
    launcher_ = fmt::format("{} --oversubscribe -np {} ", mpiexec(), ranks);
    return way.substr(0, way.rfind("--ranks"));
  }

  std::string command(const std::string& way, const std::string& out) {
    return fmt::format("{}{}train {}{} --seed {} --quiet {} --out {}", std::exchange(launcher_, ""), program, c_.data,
                       c_.options, c_.seed, way, out);
  }

  Left train(const std::string& way, const std::string& out) { return finish(command(way, out), out); }

  /// Runs a command that ends a training; empty where it failed.
  Left finish(const std::string& command, const std::string& out) {
    const Outcome outcome = run_command(command);
    const std::string sha = outcome.line_after("weights sha256 ");
    if (outcome.code != 0 || sha.size() != 64) {
      fail(command, fmt::format("ended with {}: {}", outcome.code, outcome.text));
      return {};
    }
    Left left{{"weights sha256", sha}, {"metrics.jsonl", without_times(testing::read_text(out + "/metrics.jsonl"))}};
    for (const char* file : {"log.csv", "best.safetensors", "weights.safetensors"})
      if (fs::exists(fs::path(out) / file)) left[file] = testing::read_text(out + "/" + file);
    auto result = nlohmann::ordered_json::parse(testing::read_text(out + "/manifest.json"))["result"];
    result.erase("images_per_second");
    left["result"] = result.dump();
    return left;
  }

  /// What evaluate and predict make of a run.
  Left used(const std::string& run, const std::string& way) {
    Left left;
    for (const std::string verb : {"evaluate", "predict --format csv"}) {
      if (verb == "evaluate" && !c_.has_test) continue;
      const std::string command = fmt::format("{}{} --run {}{}", program, verb, run, way);
      const Outcome outcome = run_command(command);
      if (outcome.code != 0) fail(command, outcome.text);
      left[verb] = outcome.text;
    }
    return left;
  }

  void expect_same(const Left& left, const std::string& way) {
    if (!left.empty()) expect_equal(left, straight_, way);
  }
  void expect_equal(const Left& left, const Left& expected, const std::string& way) {
    if (const std::string found = difference(left, expected); !found.empty()) fail(way, found);
  }

  void fail(const std::string& what, const std::string& why) {
    ADD_FAILURE() << what << "\n"
                  << why << "\nof: " << command(plain(), path("straight"))
                  << "\nrepeat: LOCKSTEP_TEST_CONFIGURATIONS=1 LOCKSTEP_TEST_SEED=" << seed_
                  << " " + binary_dir() + "/configurations_test\nits files are kept in " << folder_.path();
    folder_.keep();
  }

  /// The folders of the checkpoints that a run has.
  static std::vector<std::string> checkpoints(const std::string& run) {
    std::vector<std::string> names;
    if (!fs::exists(run + "/checkpoints")) return names;
    for (const auto& entry : fs::directory_iterator(run + "/checkpoints"))
      if (entry.path().extension().empty()) names.push_back(entry.path().string());
    std::ranges::sort(names);
    return names;
  }

  /// The same images from one file.
  void pack() {
    if (!c_.files) return;
    const size_t end = c_.data.find(' ', c_.data.find(':'));
    const std::string images = c_.data.substr(c_.data.find("images:"), end - c_.data.find("images:"));
    const std::string packed = fmt::format("{}pack {} {}", program, images, path("files.pack"));
    if (const Outcome outcome = run_command(packed); outcome.code != 0) return fail(packed, outcome.text);
    const std::string data =
        std::exchange(c_.data, fmt::format("--data packed:{}{}", path("files.pack"), c_.data.substr(end)));
    expect_same(train(plain(), path("packed")), packed);
    c_.data = data;
  }

  /// By the options that the manifest has.
  void repeat() {
    const std::string out = path("repeated");
    const std::string way = fmt::format("{}train --config {}/manifest.json --ranks {} --out {}", program,
                                        path("straight"), std::min<int64_t>(c_.lanes, 2), out);
    expect_same(finish(way, out), way);
  }

  /// A run with checkpoints, and one that goes on from any of them: in its folder, or in another.
  void resume() {
    const std::string from = path("checkpointed"), to = dice_.coin() ? from : path("resumed");
    const std::string every = dice_.roll(0, 2) == 0 ? "1epoch" : std::to_string(dice_.roll(1, 3));
    const std::string begun = any_way() + fmt::format(" --checkpoint-every {} --keep 100", every);
    expect_same(train(begun, from), begun);
    const auto all = checkpoints(from);
    if (all.empty()) return;
    const std::string& one = all.at(dice_.roll(0, static_cast<int64_t>(all.size()) - 1));
    const std::string way = any_way() + fmt::format(" --resume {}", one);
    expect_same(train(way, to), "after " + begun + "\n" + way);
  }

  /// A run that is killed at some step, and goes on in its folder by another way.
  void kill() {
    const std::string out = path("killed");
    const std::string begun = any_way() + fmt::format(" --checkpoint-every {}", dice_.roll(1, 2));
    const int64_t lines = dice_.roll(1, c_.steps + 1);
    run_command(
        fmt::format("{} & job=$!\nfor i in $(seq 5000); do [ $(cat {}/metrics.jsonl 2>/dev/null | wc -l) -ge {} ] && "
                    "break; kill -0 "
                    "$job 2>/dev/null || break; sleep 0.002; done\nkill -KILL $job\nwait $job",
                    command(begun, out), out, lines));
    if (checkpoints(out).empty()) return;
    const std::string way = any_way() + fmt::format(" --resume {}", out);
    expect_same(train(way, out), fmt::format("after {} killed at line {}\n{}", begun, lines, way));
  }

  /// What must change the bits.
  void controls() {
    Configuration other = c_;
    ++other.seed;
    expect_other(other, "the seed");
    const auto has = [&](const char* option) { return c_.options.find(option) != std::string::npos; };
    if (!c_.other_data.empty() && !has("--normalise none")) {  // else it may lie where a tanh is flat
      other = c_;
      other.data = c_.other_data;
      expect_other(other, "a value of the data");
    }
    // Sums of few terms may round alike, and gradients that are cut off are alike.
    if (!has("--clipvalue") && c_.lanes >= 4 && c_.lane_size > 1 && c_.steps > 2 && c_.samples >= 33) {
      other = c_;
      other.accumulate = other.lanes = 1;
      other.lane_size *= c_.lanes;
      expect_other(other, "the lanes");
    }
  }

  void expect_other(const Configuration& other, const std::string& what) {
    const Configuration own = std::exchange(c_, other);
    const std::string out = path("control");
    const Left left = train(plain(), out);
    fs::remove_all(out);
    c_ = own;
    if (!left.empty() && left.at("weights sha256") == straight_.at("weights sha256"))
      fail(what, "was changed, and the bits are the same");
  }

  uint64_t seed_;
  Dice dice_;
  testing::TemporaryFolder folder_;
  Configuration c_;
  Left straight_;
  std::string launcher_;
};

uint64_t number(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text ? std::stoull(text) : otherwise;
}

TEST(Configurations, HaveOneHashByEveryWay) {
  const uint64_t count = number("LOCKSTEP_TEST_CONFIGURATIONS", 5), first = number("LOCKSTEP_TEST_SEED", 1);
  for (uint64_t seed = first; seed < first + count; ++seed) Case(seed).run();
}

}  // namespace
}  // namespace lockstep::test
