// The lockstep program as a user meets it: results, run folder, and every kind of bad input: message, exit code 2, and
// nothing left half written.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "launch/backends/backends.h"
#include "tests/support/paths.h"
#include "tests/support/run_command.h"
#include "tests/support/temporary_folder.h"

namespace {

namespace fs = std::filesystem;
using namespace lockstep::test;
using lockstep::testing::TemporaryFolder;

Outcome run(const std::string& arguments, const std::string& before = "") {
  return run_command(before + " " + binary_dir() + "/lockstep " + arguments);
}

std::string read(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
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
    EXPECT_TRUE(trained.says(part)) << trained.text;
  const std::string sha = trained.line_after("weights sha256 ");
  EXPECT_EQ(sha.size(), 64U);

  const auto manifest = nlohmann::json::parse(read(path("run/manifest.json")));
  EXPECT_EQ(manifest["result"]["weights_sha256"], sha);
  EXPECT_EQ(manifest["configuration"]["batch"], 64);
  EXPECT_EQ(manifest["configuration"]["lanes"], 8);
  EXPECT_EQ(manifest["configuration"]["seed"], 5);
  EXPECT_EQ(manifest["configuration"]["epochs"], 1) << "with all defaults resolved";
  EXPECT_EQ(manifest["configuration"]["optimizer"]["beta_2"].get<float>(), 0.999F);
  EXPECT_EQ(manifest["data"]["train_samples"], 1437);
  EXPECT_EQ(manifest["rank_seeds"].size(), manifest["configuration"]["ranks"].get<size_t>());
  std::ifstream metrics(path("run/metrics.jsonl"));
  int steps = 0;
  for (std::string line; std::getline(metrics, line);) steps += nlohmann::json::parse(line)["kind"] == "step";
  EXPECT_EQ(steps, 3);

  const Outcome evaluated =
      run("evaluate --model lenet5 --data digits --resize 28 --batch 64 --weights " + path("run/weights.safetensors"));
  ASSERT_EQ(evaluated.code, 0) << evaluated.text;
  EXPECT_EQ(evaluated.line_after("weights sha256 "), sha);
  EXPECT_EQ(evaluated.line_after("test accuracy "), trained.line_after("test accuracy "));
}

TEST_F(Cli, TheSameWeightsForEveryNumberOfRanksAndTwice) {
  const std::string sha = run(small + "--ranks 1").line_after("weights sha256 ");
  EXPECT_EQ(sha.size(), 64U);
  for (const char* ranks : {"1", "2", "4", "8", "auto"})
    EXPECT_EQ(run(small + "--ranks " + ranks).line_after("weights sha256 "), sha) << ranks;
  EXPECT_NE(run(small + "--seed 6").line_after("weights sha256 "), sha);
  EXPECT_EQ(run(small + "--check-finite").line_after("weights sha256 "), sha);
}

TEST_F(Cli, FastModeTrainsToo) {
  const Outcome outcome = run(small + "--numerics fast --ranks 2 --threads 1");
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_TRUE(outcome.says("lanes 2, numerics fast"));
  // Other bits, but the same training: 1e-7 of an addition in another order, amplified by three steps.
  const auto loss = [](const Outcome& of) { return std::stod("0" + of.line_after("epoch 1/1  loss ")); };
  EXPECT_NEAR(loss(outcome), loss(run(small)), 2e-4) << outcome.text;
}

TEST_F(Cli, TheLastOfTwoEqualOptionsCounts) {
  const Outcome outcome = run(small + "--epochs 7 --steps 1 --seed 9");
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_TRUE(outcome.says("seed 9"));
}

TEST_F(Cli, AModelFromAFile) {
  const std::string file = source_dir() + "/examples/small.json";
  EXPECT_TRUE(run("summary --model " + file).says("Total params"));
  const Outcome outcome = run("train --data digits --epochs 5 --model " + file);
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_GT(std::stod("0" + outcome.line_after("test accuracy ")), 80) << outcome.text;
}

TEST_F(Cli, SchedulesAndAugmentationTellInTheWeightsAndInTheManifest) {
  const std::string plain = run(small).line_after("weights sha256 ");
  const Outcome outcome = run(small + "--schedule cosine --warmup 2 --augment crop:2,flip --out " + path("run"));
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_NE(outcome.line_after("weights sha256 "), plain);
  const auto configuration = nlohmann::json::parse(read(path("run/manifest.json")))["configuration"];
  EXPECT_EQ(configuration["schedule"]["name"], "cosine");
  EXPECT_EQ(configuration["schedule"]["warmup"], 2);
  EXPECT_EQ(configuration["augment"], "crop:2,flip");
}

TEST_F(Cli, AccumulatedBatchesAreLanesOfOneUpdate) {
  const auto sha = [&](const std::string& options) {
    return run("train --data digits --steps 3 --quiet --ranks 2 --seed 3 " + options).line_after("weights sha256 ");
  };
  const std::string accumulated = sha("--batch 16 --lanes 2 --accumulate 4");
  EXPECT_EQ(accumulated.size(), 64U);
  EXPECT_EQ(accumulated, sha("--batch 64 --lanes 8"));
  EXPECT_NE(accumulated, sha("--batch 16 --lanes 2"));
  EXPECT_EQ(sha("--batch 16 --lanes 2 --accumulate 4 --lr 0.001 --scale-lr 32"), sha("--batch 64 --lr 0.002"));
}

TEST_F(Cli, OptimizersAndSchedulesTellInTheManifest) {
  const Outcome outcome = run(small + "--optimizer lars --momentum 0.8 --nesterov --out " + path("refused"));
  EXPECT_TRUE(outcome.says("unknown option of lars 'nesterov'")) << outcome.text;
  ASSERT_EQ(run(small +
                "--optimizer rmsprop --momentum 0.8 --centered --global-clipnorm 2 --use-ema --schedule "
                "one_cycle --pct-start 0.5 --out " +
                path("run"))
                .code,
            0);
  const auto configuration = nlohmann::json::parse(read(path("run/manifest.json")))["configuration"];
  const auto& optimizer = configuration["optimizer"];
  EXPECT_EQ(optimizer["name"], "rmsprop");
  EXPECT_EQ(optimizer["momentum"].get<float>(), 0.8F);
  EXPECT_EQ(optimizer["centered"], true);
  EXPECT_EQ(optimizer["global_clipnorm"], 2);
  EXPECT_EQ(optimizer["use_ema"], true);
  EXPECT_EQ(optimizer["exclude_bias_and_norm"], false);
  EXPECT_EQ(configuration["schedule"]["pct_start"], 0.5);
}

TEST_F(Cli, SaysOnStderrWhatItIsAskedToSay) {
  const std::string crowded = small + "--quiet --ranks 8 --threads 16 --log ";
  EXPECT_TRUE(run(crowded + "warning").says("lockstep: warning: 8 ranks of 16 threads share "));
  EXPECT_FALSE(run(crowded + "error").says("lockstep: "));
  EXPECT_TRUE(run(crowded + "debug").says("lockstep: debug: rank 7: planned a step of "));
}

TEST_F(Cli, LessMemoryHasTheSameBits) {
  const std::string options = small + "--quiet --ranks 2 ";
  const std::string sha = run(options).line_after("weights sha256 ");
  EXPECT_EQ(sha.size(), 64U);
  EXPECT_EQ(run(options + "--shard-optimizer").line_after("weights sha256 "), sha);
  EXPECT_EQ(run(options + "--recompute '*pool*,conv*'").line_after("weights sha256 "), sha);
}

TEST_F(Cli, SummaryPlanVersionAndHelp) {
  EXPECT_TRUE(run("summary --model seed_cnn --data synthetic:224x224x3/10/8").says("Total params: 29,002"));
  const Outcome plan = run("plan --model lenet5 --resize 28 --batch 64");
  for (const char* part : {"conv2d/weight_grad", "all_reduce", "max_pool 2x2 stride 2x2 +relu", "memory of one rank"})
    EXPECT_TRUE(plan.says(part)) << part;
  const auto pass = [](const std::string& name) { return run("plan --model lenet5 --resize 28 --pass " + name); };
  EXPECT_TRUE(pass("network").says("conv2d/relu"));
  EXPECT_FALSE(pass("fuse").says("conv2d/relu"));
  EXPECT_FALSE(pass("fuse").says("conv2d/weight_grad"));
  EXPECT_TRUE(pass("autodiff").says("conv2d/weight_grad"));
  EXPECT_TRUE(pass("place").says("P->R"));
  EXPECT_TRUE(pass("reduce").says("bucket0/all_reduce"));
  EXPECT_TRUE(pass("synchronise").says("bucket0/all_reduce (read after write)"));
  const std::string split = "plan --model lenet5 --resize 28 --batch 16 --lanes 2 ";
  const Outcome layers = run(split + "--strategy space_h=2,filter=2 --pass layers");
  for (const char* part : {"max_pooling2d_1", "space_h:S(1) filter:S(3)", "1 halo exchange", "over data, space_h"})
    EXPECT_TRUE(layers.says(part)) << part;
  EXPECT_EQ(run(split + "--strategy space_h=2 --draw " + path("plan.svg")).code, 0);
  std::ifstream svg(path("plan.svg"));
  EXPECT_NE(std::string(std::istreambuf_iterator<char>(svg), {}).find("rows by space_h"), std::string::npos);
  const Outcome staged = run(split + "--strategy stage=auto --ranks 2 --pass layers");
  for (const char* part :
       {"stage:1", "memory of a rank of stage 1", "pipeline 1f1b, 2 lanes a rank", "stages wait for"})
    EXPECT_TRUE(staged.says(part)) << staged.text;
  EXPECT_TRUE(run(split + "--strategy stage=auto").says("expected --ranks N"));
  EXPECT_TRUE(run(split + "--strategy stage=2 --pipeline 1f2b").says("did you mean '1f1b'"));
  EXPECT_TRUE(run(split + "--pipeline gpipe").says("the strategy 'data' has no stages"));
  EXPECT_TRUE(run(split + "--strategy stage=2").says("stage 0, as rank 0 has it"));
  const Outcome search = run(split + "--search --ranks 2");
  for (const char* part : {"GB/s (measured)", "data=2", "space_w=2", "channel=2"})
    EXPECT_TRUE(search.says(part)) << part;
  const Outcome priced = run(split + "--search --ranks 2 --link 1000,0.5");
  for (const char* part : {"1000.0 us, 0.50 GB/s (given)", "stage=2"}) EXPECT_TRUE(priced.says(part)) << priced.text;
  EXPECT_TRUE(run("version").says("onednn"));
  EXPECT_EQ(run("version", "exec 1>/dev/full;").code, 1) << "what was printed has not arrived";
  EXPECT_EQ(run("--help").code, 0);
  const std::string version = run("--version").text;
  EXPECT_TRUE(version.starts_with("lockstep 0") && run("version").text.starts_with(version)) << version;
}

TEST_F(Cli, AnEstimateIsComparedWithTheRunAndLeavesItsBits) {
  const std::string sha = run(small).line_after("weights sha256 ");
  EXPECT_EQ(sha.size(), 64U);
  for (const std::string strategy : {"data=2", "stage=2 --pipeline gpipe"}) {
    const std::string folder = path(strategy.substr(0, 4));
    const Outcome outcome = run(small + "--estimate --strategy " + strategy + " --out " + folder);
    ASSERT_EQ(outcome.code, 0) << outcome.text;
    EXPECT_EQ(outcome.line_after("weights sha256 "), sha) << strategy;
    EXPECT_TRUE(outcome.says("ms a step, measured ")) << outcome.text;
    const auto manifest = nlohmann::json::parse(read(folder + "/manifest.json"));
    const auto stages = manifest["configuration"]["stages"];
    EXPECT_EQ(stages.empty(), strategy == "data=2");
    if (!stages.empty()) {
      EXPECT_EQ(stages["conv2d"], 0);
      EXPECT_EQ(stages["dense_1"], 1);
    }
    const auto& told = manifest["estimate"];
    const auto number = [&](const char* key) { return told.at(key).get<double>(); };
    const double predicted = number("seconds_per_step"), measured = number("measured_seconds_per_step");
    EXPECT_GT(number("compute"), 0);
    EXPECT_GT(number("communication"), 0);
    EXPECT_EQ(number("waiting") > 0, strategy != "data=2") << told;
    EXPECT_NEAR(predicted, number("compute") + number("waiting") + number("communication"), 1e-9 * predicted);
    EXPECT_GT(measured, 0);
    EXPECT_NEAR(number("error"), predicted / measured - 1, 1e-9) << told;
  }
  ASSERT_EQ(run(small + "--out " + path("plain")).code, 0);
  EXPECT_FALSE(nlohmann::json::parse(read(path("plain/manifest.json"))).contains("estimate"));
}

TEST_F(Cli, EstimatesAndSearchesWithTheLossThatIsAsked) {
  std::ofstream(path("one.json")) << R"({"name": "one", "layers": [{"type": "Input", "shape": [8, 8, 1]},
      {"type": "Flatten"}, {"type": "Dense", "units": 1, "activation": "sigmoid"}]})";
  const std::string one = "--model " + path("one.json") + " --data synthetic:8x8x1/2/64 --batch 16 --ranks 2 ";
  const std::string loss = "--loss binary_crossentropy ", needs = "expected a softmax";
  const Outcome trained = run("train --predict --steps 4 " + one + loss);  // the former name
  EXPECT_TRUE(trained.says("is called --estimate now") && trained.says("ms a step, measured ")) << trained.text;
  EXPECT_EQ(run("train --estimate --steps 4 " + one + "--loss categorical_crossentropy").code, 2);
  const std::string search = "plan --search --link 5,1 " + one;
  EXPECT_FALSE(run(search + loss).says(needs));
  EXPECT_TRUE(run(search).says(needs)) << "negative control";
}

struct Bad {
  const char* arguments;
  std::vector<std::string> says;
};

TEST_F(Cli, BadInputIsRefusedWithTwo) {
  std::vector<Bad> cases{
      {"", {"a command is missing"}},
      {"tarin", {"tarin", "did you mean 'train'"}},
      {"train --modle lenet5", {"unknown option '--modle'", "lockstep train --help", "did you mean '--model'"}},
      {"train --model lenet6", {"unknown model 'lenet6'", "did you mean 'lenet5'"}},
      {"train --model none.json", {"none.json", "cannot read", "No such file"}},
      {"train --data digit", {"digits"}},
      {"train --data idx:/nowhere", {"/nowhere"}},
      {"train --data synthetic:8x8", {"synthetic:HxWxC/CLASSES/COUNT"}},
      {"train --optimizer adm", {"did you mean 'adam'"}},
      {"train --numerics fsat", {"did you mean 'fast'"}},
      {"train --strategy date", {"did you mean 'data'"}},
      {"train --strategy space_h=2,filter=2 --ranks 3", {"space_h=2, filter=2", "does not divide 3 ranks"}},
      {"train --strategy space_h=16", {"'space_h' has 16 members", "'input' has 8 elements"}},
      {"train --strategy none.json", {"none.json", "No such file"}},
      {"plan --search --strategy space_h=2", {"--search tries all strategies"}},
      {"plan --search --link 5 --resize 32", {"link '5'", "LATENCY_US,GB_PER_S"}},
      {"plan --link 5,12.5 --resize 32", {"--link 5,12.5", "expected --search"}},
      {"train --estimate --steps 2 --resize 32", {"--estimate", "the run has 2", "expected 3 at least"}},
      {"train --recompute 'pol*'", {"--recompute 'pol*' matches no layer"}},
      {"train --shard-optimizer --numerics fast --ranks 3 --batch 30", {"3 ranks", "power of two"}},
      {"train --ranks two", {"--ranks is 'two'", "expected auto or a number"}},
      {"topology --ranks 1000000", {"--ranks is '1000000'", "1 to 4096"}},
      {"train --batch", {"--batch has no value, expected a whole number"}},
      {"train --backend=", {"--backend has no value, expected auto|cpu|cuda"}},
      {"train --batch 6x", {"--batch is '6x', expected a whole number"}},
      {"train --batch 64 extra", {"'extra' stands alone", "train --help"}},
      {"pack digits", {"OUT is missing"}},
      {"train --resize 32 --batch 30", {"batch 30", "8 lanes", "24 or 32 would fit"}},
      {"train --resize 32 --batch 5", {"batch 5", "8 lanes; 8 would fit"}},
      {"train --resize 32 --lanes 6 --batch 60", {"lanes is 6", "power of two"}},
      {"train --resize 32 --ranks 3", {"8 lanes", "3 ranks", "1, 2, 4, 8"}},
      {"train --model lenet5", {"conv2d_1", "5x5", "[1, 4, 4, 6]"}},
      {"train --lr -1", {"--lr is -1"}},
      {"train --weight-decay -1", {"adam: got weight_decay -1"}},
      {"train --warmup -1", {"schedule constant: got warmup -1"}},
      {"train --accumulate 3", {"--accumulate is 3", "power of two"}},
      {"train --accumulate 2 --numerics fast", {"--accumulate 2", "reproducible"}},
      {"train --power 2", {"unknown option of the schedule constant 'power'", "warmup"}},
      {"train --clipnorm 1 --clipvalue 1", {"clipvalue 1, clipnorm 1", "one of them"}},
      {"train --scale-lr 0", {"--scale-lr is 0"}},
      {"train --schedule cosin", {"unknown schedule 'cosin'", "did you mean 'cosine'"}},
      {"train --augment crop:x", {"augmentation 'crop:x'", "crop:PIXELS"}},
      {"train --log warnings", {"unknown log level 'warnings'", "did you mean 'warning'"}},
      {"train --loss mse --resize 32", {"--loss mse", "takes numbers as targets", "no kind of --data has such"}},
      {"evaluate --resize 32 --loss huber --weights x", {"--loss huber", "cross-entropies"}},
      {"train --lr 0", {"--lr is 0", "above 0"}},
      {"train --lr nan", {"--lr is nan"}},
      {"train --weight-decay nan", {"adam: got weight_decay nan"}},
      {"train --seed -1", {"--seed", "from 0"}},
      {"train --threads 0", {"--threads is 0"}},
      {"train --threads 30000", {"--threads is 30000", "makes 30000 threads on the ", "at most"}},
      {"train --ranks 4 --threads 1000000", {"--threads is 1000000", "makes 4000000 threads"}},
      {"train --workers 2000000000 --ranks 2", {"--workers is 2000000000", "at most"}},
      {"topology --ranks 4000", {"--ranks is 4000", "at most"}},
      {"evaluate --threads 30000 --weights x", {"--threads is 30000", "at most"}},
      {"data info digits --workers 30000", {"--workers is 30000", "at most"}},
      {"pack digits x --workers 30000", {"--workers is 30000", "at most"}},
      {"train --batch 0", {"batch is 0"}},
      {"train --batch 9223372036854775800", {"batch is 9223372036854775800", "expected 1 to"}},
      {"train --epochs 0 --resize 32", {"epochs is 0"}},
      {"train --epochs 0 --steps 5 --resize 32", {"epochs is 0"}},
      {"train --epochs 500000000000000000 --resize 32", {"epochs is 500000000000000000", "expected 1 to"}},
      {"train --steps -5 --resize 32", {"steps is -5"}},
      {"train --resize 32 --lanes 1073741824 --batch 1073741824 --ranks 3", {"1073741824 lanes", "3 ranks"}},
      {"plan --pass fuze --resize 32", {"unknown pass 'fuze'", "did you mean 'fuse'"}},
      {"plan --out x", {"unknown option '--out'"}},
      {"train --backend cudda", {"unknown backend 'cudda'", "did you mean 'cuda'"}},
      {"train --precision bf61", {"unknown precision 'bf61'", "did you mean 'bf16'"}},
      {"train --backend cpu --precision bf16", {"--precision bf16", "the CPU computes in fp32"}},
      {"train --comm ncl", {"unknown communicator 'ncl'", "did you mean 'nccl'"}},
      {"train --backend cpu --comm nccl", {"--comm nccl", "expected GPUs"}},
      {"train --backend cpu --engines none.json", {"--engines 'none.json'", "expected GPUs"}},
      {"topology --ranks 0", {"--ranks is '0'", "expected auto or a number"}},
      {"summary --normalise none", {"unknown option '--normalise'"}},
      {"evaluate --weights /", {"'/' holds no checkpoint"}},
      {"train --resize 0", {"size '0'", "HEIGHTxWIDTH"}},
      {"train --resize 32 --out /proc/nothing", {"/proc/nothing"}},
      {"evaluate --weights /nowhere", {"/nowhere"}},
  };
  if (lockstep::gpus().empty())
    cases.push_back({"train --backend cuda", {"--backend cuda: there is no GPU", lockstep::gpu_status()}});
  const std::string long_name = "train --data idx:/" + std::string(300, 'x');
  cases.push_back({long_name.c_str(), {"is not a directory", "File name too long"}});
  for (const auto& [arguments, says] : cases) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, 2) << arguments << "\n" << outcome.text;
    for (const std::string& part : says) EXPECT_TRUE(outcome.says(part)) << arguments << "\n" << outcome.text;
    EXPECT_EQ(outcome.count("lockstep: error"), 1U) << arguments << "\n" << outcome.text;
  }
}

TEST_F(Cli, ABadModelFileIsToldWithItsLine) {
  std::ofstream(path("m.json"))
      << "{\n  \"layers\": [\n    {\"type\": \"Input\", \"shape\": [8, 8, 1]},\n"
         "    {\"type\": \"Conv2D\", \"filterz\": 3, \"kernel_size\": 3, \"filters\": 2}\n  ]\n}\n";
  const Outcome outcome = run("train --model " + path("m.json"));
  EXPECT_EQ(outcome.code, 2);
  EXPECT_TRUE(outcome.says("m.json:4")) << outcome.text;
  EXPECT_TRUE(outcome.says("'filterz'")) << outcome.text;
  fs::create_directory(path("folder.json"));
  const Outcome folder = run("summary --model " + path("folder.json"));
  EXPECT_EQ(folder.code, 2);
  EXPECT_TRUE(folder.says("folder.json': it is a directory")) << folder.text;
}

TEST_F(Cli, AFolderWithAnotherRunIsLeftAlone) {
  ASSERT_EQ(run(small + "--quiet --out " + path("run")).code, 0);
  const std::string before = read(path("run/manifest.json"));
  const Outcome again = run(small + "--out " + path("run"));
  EXPECT_EQ(again.code, 2);
  EXPECT_TRUE(again.says("holds")) << again.text;
  EXPECT_EQ(read(path("run/manifest.json")), before);
}

TEST_F(Cli, RefusedInputLeavesNoFolder) {
  for (const std::string& refused : std::initializer_list<std::string>{
           "--resize 32 --batch 30", "--resize 32 --epochs 0", "--resize 32 --weight-decay nan", "--model lenet5",
           "--data synthetic:16x16x1/10/64 --model " + source_dir() + "/examples/small.json"}) {
    EXPECT_EQ(run("train --out " + path("none") + " " + refused).code, 2) << refused;
    EXPECT_FALSE(fs::exists(path("none"))) << refused;
  }
  std::ofstream(path("logits.json")) << R"({"layers": [{"type": "Input", "shape": [8, 8, 1]}, {"type": "Flatten"},
    {"type": "Dense", "units": 10}]})";
  const Outcome logits = run("train --model " + path("logits.json") + " --out " + path("none"));
  EXPECT_EQ(logits.code, 2) << logits.text;
  EXPECT_TRUE(logits.says("expected a softmax")) << logits.text;
  EXPECT_FALSE(fs::exists(path("none")));
}

TEST_F(Cli, LimitsOfOpenMPAreToldAndNotWaitedFor) {
  for (const char* limit : {"OMP_THREAD_LIMIT=1", "OMP_MAX_ACTIVE_LEVELS=0"}) {
    const Outcome outcome = run(small + "--ranks 1 --threads 2", std::string(limit) + " timeout 60");
    EXPECT_EQ(outcome.code, 2) << outcome.text;
    EXPECT_TRUE(outcome.says("2 compute threads per rank, but OMP_THREAD_LIMIT")) << outcome.text;
  }
}

TEST_F(Cli, ADivergingRunNamesStepAndNode) {
  const std::string diverges = "train --model seed_cnn --resize 32 --optimizer sgd --lr 1e30 --steps 20 --ranks 2 ";
  const Outcome plain = run(diverges);
  EXPECT_EQ(plain.code, 1) << plain.text;
  EXPECT_TRUE(plain.says("--check-finite")) << plain.text;
  const Outcome checked = run(diverges + "--check-finite");
  EXPECT_EQ(checked.code, 1);
  EXPECT_TRUE(checked.says("node '")) << checked.text;
  EXPECT_TRUE(checked.says("step ")) << checked.text;
}

TEST_F(Cli, TheExampleTrains) {
  const Outcome outcome = run_command(binary_dir() + "/example_digits");
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_GT(std::stod("0" + outcome.line_after("test accuracy ")), 85) << outcome.text;
}

}  // namespace
