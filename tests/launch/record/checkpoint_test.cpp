// Checkpoints as files: what they hold, read by a reader of the test's own and by Python's; what is refused; and what
// is left after errors.
#include "launch/record/checkpoint.h"
#include "launch/files/sha256.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <bit>
#include <csignal>
#include <cstring>
#include <limits>

#include "launch/record/checkpoint_folder.h"
#include "launch/record/checkpoint_writer.h"
#include "launch/record/weights_file.h"
#include "layers/ops.h"
#include "tests/support/errors.h"
#include "tests/support/run_command.h"
#include "tests/support/temporary_folder.h"

namespace lockstep {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::says;
using testing::read_text;
using testing::TemporaryFolder;
using testing::write_file;

Network small_network(int64_t units = 3) {
  const Symbol image = Input({2, 2, 1});
  const Symbol x = BatchNormalization().named("norm")(Conv2D(2, {1, 1}).named("conv")(image));
  return Network("small", Dense(units, {.activation = Activation::softmax}).named("dense")(Flatten()(x)));
}

/// Values that tell where they belong, and some that a decimal or a comparison would lose.
std::vector<float> values_of(const Variable& variable, float start, float first) {
  std::vector<float> values(static_cast<size_t>(variable.shape.elements()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = start + static_cast<float>(i) / 3;
  values[0] = first;
  values.back() = -0.0F;
  return values;
}

Checkpoint made_up(const Network& network, int64_t step) {
  Checkpoint checkpoint{.state = {},
                        .slot_names = {"momentum", "velocity"},
                        .configuration = {{"model", "small"}, {"seed", "7"}, {"optimizer", {{"lr", 0.5}}}},
                        .run = {{"ranks", 2}}};
  checkpoint.state = {.weights = {},
                      .slots = std::vector<Weights>(2),
                      .loss_scale = LossScale{1024, 5},
                      .lr = 0.1F,
                      .steps_done = step,
                      .epochs_done = 2,
                      .fit = {.steps = 5, .epochs = 1, .step_in_epoch = 3, .sums = {{0.1 + 0.2, 17}, 96}}};
  float start = static_cast<float>(step);
  for (const Variable& variable : network.variables()) {
    checkpoint.state.weights[variable.name] = values_of(variable, ++start, std::numeric_limits<float>::denorm_min());
    if (!variable.trainable) continue;
    const float payload = std::bit_cast<float>(0x7fc12345U);  // of a NaN
    for (Weights& slot : checkpoint.state.slots) slot[variable.name] = values_of(variable, ++start, payload);
  }
  return checkpoint;
}

bool same_bits(const Weights& a, const Weights& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [name, values] : a) {
    const auto found = b.find(name);
    if (found == b.end() || found->second.size() != values.size()) return false;
    if (std::memcmp(values.data(), found->second.data(), values.size() * sizeof(float)) != 0) return false;
  }
  return true;
}

class CheckpointFile : public ::testing::Test {
 protected:
  fs::path write(int64_t step) {
    const fs::path path = folder_.path() / checkpoint_name(step);
    write_checkpoint(path, network_, made_up(network_, step));
    return path;
  }
  Network network_ = small_network();
  TemporaryFolder folder_;
};

TEST_F(CheckpointFile, GivesBackEveryBit) {
  const Checkpoint written = made_up(network_, 8);
  const fs::path path = write(8);
  const StoredCheckpoint stored = open_checkpoint(path);
  const TrainingState state = stored.state(network_);
  EXPECT_TRUE(same_bits(state.weights, written.state.weights));
  ASSERT_EQ(state.slots.size(), 2U);
  for (size_t slot = 0; slot < 2; ++slot) EXPECT_TRUE(same_bits(state.slots[slot], written.state.slots[slot]));
  EXPECT_EQ(state.loss_scale, written.state.loss_scale);
  EXPECT_EQ(state.steps_done, 8);
  EXPECT_EQ(state.epochs_done, 2);
  EXPECT_EQ(state.fit.steps, 5);
  EXPECT_EQ(state.fit.epochs, 1);
  EXPECT_EQ(state.fit.step_in_epoch, 3);
  EXPECT_EQ(state.fit.sums.sums, (std::vector{0.1 + 0.2, 17.0}));
  EXPECT_EQ(state.fit.sums.samples, 96);
  EXPECT_EQ(state.lr, 0.1F);
  EXPECT_EQ(stored.manifest()["weights_sha256"], weights_sha256(network_, written.state.weights));
  EXPECT_TRUE(same_bits(load_weights(path, network_), written.state.weights));
  EXPECT_TRUE(same_bits(load_weights(path / "weights.safetensors", network_), written.state.weights));
  EXPECT_EQ(list_checkpoints(folder_.path()).size(), 1U) << "and nothing temporary";
  // Written once more in the same place: it takes the place of the old one.
  write_checkpoint(path, network_, made_up(network_, 8));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 1);
}

/// Reads safetensors by the format's description alone.
std::map<std::string, std::string> tensors_of(const std::string& bytes) {
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ(length % 8, 0U) << "values are aligned";
  const auto header = nlohmann::json::parse(bytes.substr(8, length));
  std::map<std::string, std::string> tensors;
  size_t used = 0;
  for (const auto& [name, entry] : header.items()) {
    EXPECT_EQ(entry.at("dtype"), "F32");
    size_t elements = 1;
    for (const auto& size : entry.at("shape")) elements *= size.get<size_t>();
    const size_t begin = entry.at("data_offsets").at(0), end = entry.at("data_offsets").at(1);
    EXPECT_EQ(end - begin, 4 * elements) << name;
    tensors[name] = bytes.substr(8 + length + begin, end - begin);
    used += end - begin;
  }
  EXPECT_EQ(8 + length + used, bytes.size()) << "no gaps";
  return tensors;
}

TEST_F(CheckpointFile, AnotherReaderFindsTheVariablesByTheirNames) {
  const Checkpoint written = made_up(network_, 8);
  const fs::path path = write(8);
  const auto weights = tensors_of(read_text(path / "weights.safetensors"));
  const auto optimizer = tensors_of(read_text(path / "optimizer.safetensors"));
  const auto holds = [](const std::string& bytes, const std::vector<float>& values) {
    return bytes.size() == values.size() * 4 && std::memcmp(bytes.data(), values.data(), bytes.size()) == 0;
  };
  EXPECT_EQ(weights.size(), 8U);
  for (const Variable& variable : network_.variables()) {
    EXPECT_TRUE(holds(weights.at(variable.name), written.state.weights.at(variable.name))) << variable.name;
    if (!variable.trainable) continue;
    for (size_t slot = 0; slot < 2; ++slot)
      EXPECT_TRUE(holds(optimizer.at(variable.name + "/" + written.slot_names[slot]),
                        written.state.slots[slot].at(variable.name)));
  }
  EXPECT_TRUE(holds(optimizer.at("loss_scale"), {1024, 5}));
  EXPECT_EQ(test::run_command("cd " + path.string() + " && sha256sum -c manifest.sha256").code, 0);
}

TEST_F(CheckpointFile, PythonReadsItAndWritesOne) {
  if (test::run_command("python3 -c 'import numpy, safetensors.numpy'").code != 0)
    GTEST_SKIP() << "python3 has no safetensors";
  const fs::path path = write(8), back = folder_.path() / "back.safetensors";
  // In another order, and with metadata, as other writers have it.
  const std::string script = R"(import sys, numpy, safetensors.numpy as s
t = s.load_file(sys.argv[1])
assert t["conv/kernel"].shape == (2, 1, 1, 1) and t["dense/kernel"].shape == (3, 8), t["dense/kernel"].shape
s.save_file({k: t[k] for k in sorted(t, reverse=True)}, sys.argv[2], metadata={"by": "python"}))";
  write_file(folder_.path() / "copy.py", script);
  const test::Outcome outcome = test::run_command(fmt::format("python3 {} {} {}", (folder_.path() / "copy.py").string(),
                                                              (path / "weights.safetensors").string(), back.string()));
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_TRUE(same_bits(read_weights(back.string(), network_), made_up(network_, 8).state.weights));
}

TEST_F(CheckpointFile, AChangedByteIsFoundWhereverItIs) {
  write(4);
  const fs::path path = write(8);
  for (const char* name : {"weights.safetensors", "optimizer.safetensors", "manifest.json", "manifest.sha256"}) {
    const std::string good = read_text(path / name);
    for (const size_t at : {size_t{0}, good.size() / 2, good.size() - 1}) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ 1);
      if (std::string_view(name) == "manifest.sha256" && at >= 64) continue;  // the file's name and the line's end
      write_file(path / name, bad);
      const std::string error = error_of([&] { open_checkpoint(path); });
      EXPECT_TRUE(
          says(error, {path.string(), "sha256", "expected", "the newest good checkpoint beside it is step-000004",
                       "--resume " + (folder_.path() / "step-000004").string()}))
          << name << " at " << at;
    }
    write_file(path / name, good);
    EXPECT_EQ(error_of([&] { open_checkpoint(path); }), "");
  }
}

TEST_F(CheckpointFile, MissingAndTruncatedFilesAreRefused) {
  const fs::path path = write(8);
  for (const char* name : {"weights.safetensors", "optimizer.safetensors", "manifest.json", "manifest.sha256"}) {
    const std::string good = read_text(path / name);
    write_file(path / name, good.substr(0, good.size() - 1));
    EXPECT_TRUE(says(error_of([&] { open_checkpoint(folder_.path()); }), {path.string(), name, "expected"})) << name;
    if (std::string_view(name) == "weights.safetensors") {
      EXPECT_TRUE(says(error_of([&] { open_checkpoint(path); }),
                       {fmt::format("ends at byte {}, expected {} bytes", good.size() - 1, good.size()),
                        "no good checkpoint beside it"}));
    }
    fs::remove(path / name);
    EXPECT_TRUE(says(error_of([&] { open_checkpoint(path); }), {(path / name).string(), "No such file"})) << name;
    write_file(path / name, good);
  }
}

/// Seals a manifest that a program of another version, or a hand, has written.
void change_manifest(const fs::path& path, const std::string& from, const std::string& to) {
  std::string text = read_text(path / "manifest.json");
  ASSERT_NE(text.find(from), std::string::npos);
  text.replace(text.find(from), from.size(), to);
  write_file(path / "manifest.json", text);
  write_file(path / "manifest.sha256", sha256(text) + "  manifest.json\n");
}

TEST_F(CheckpointFile, OtherVersionsAndFormatsAreRefused) {
  fs::path path = write(8);
  change_manifest(path, "\"version\": 2", "\"version\": 3");
  EXPECT_TRUE(says(error_of([&] { open_checkpoint(path); }), {"version 3, expected 2", "written by Lockstep"}));
  path = write(9);
  change_manifest(path, "\"format\": \"lockstep checkpoint\"", "\"format\": \"other\"");
  EXPECT_TRUE(says(error_of([&] { open_checkpoint(path); }), {"no manifest of a lockstep checkpoint"}));
  path = write(10);
  change_manifest(path, "\"files\"", "\"flies\"");
  EXPECT_TRUE(says(error_of([&] { open_checkpoint(path); }), {"manifest.json", "'files' not found"}));
}

TEST_F(CheckpointFile, ForeignAndMismatchedOnesAreRefused) {
  const StoredCheckpoint stored = open_checkpoint(write(8));
  auto configuration = made_up(network_, 8).configuration;
  EXPECT_EQ(error_of([&] { stored.expect(configuration); }), "");
  configuration["optimizer"]["lr"] = 0.25;
  EXPECT_TRUE(says(error_of([&] { stored.expect(configuration); }),
                   {"optimizer/lr is 0.5 in the checkpoint, 0.25 in this run"}));
  configuration["seed"] = "8";
  EXPECT_TRUE(says(error_of([&] { stored.expect(configuration); }), {"seed is \"7\" in the checkpoint, \"8\""}));
  configuration.erase("seed");
  configuration["optimizer"]["lr"] = 0.5;
  EXPECT_TRUE(says(error_of([&] { stored.expect(configuration); }), {"seed is \"7\" in the checkpoint, missing in"}));
  EXPECT_TRUE(says(error_of([&] { stored.state(small_network(4)); }),
                   {"weights.safetensors", "'dense/kernel' is F32[3, 8]", "'small' has F32[4, 8]"}));
}

TEST_F(CheckpointFile, AFolderNamesItsNewest) {
  EXPECT_TRUE(says(error_of([&] { find_checkpoint(folder_.path()); }), {"holds no checkpoint", "step-000100"}));
  EXPECT_TRUE(says(error_of([&] { find_checkpoint(folder_.path() / "none"); }), {"none", "is no folder"}));
  EXPECT_FALSE(has_checkpoint(folder_.path()));
  write(999999);
  const fs::path newest = write(1000000);  // one digit more
  fs::create_directories(unfinished(folder_.path() / checkpoint_name(2000000)));
  fs::create_directories(folder_.path() / "step-x");
  EXPECT_EQ(find_checkpoint(folder_.path()), newest);
  EXPECT_EQ(find_checkpoint(folder_.path() / ""), newest);
  EXPECT_EQ(find_checkpoint(newest / ""), newest);
  EXPECT_EQ(list_checkpoints(folder_.path()).size(), 2U);
  fs::create_directories(folder_.path() / "run");
  fs::rename(newest, folder_.path() / "run" / "checkpoints");  // a checkpoint of any name
  EXPECT_EQ(find_checkpoint(folder_.path() / "run" / "checkpoints"), folder_.path() / "run" / "checkpoints");
}

TEST_F(CheckpointFile, TheWriterKeepsTheNewest) {
  const fs::path folder = folder_.path() / "kept";
  fs::create_directories(unfinished(folder / checkpoint_name(3)));
  {
    CheckpointWriter writer(network_, folder, 2);
    EXPECT_FALSE(fs::exists(unfinished(folder / checkpoint_name(3)))) << "what a killed run has left";
    for (const int64_t step : {10, 20, 30})
      EXPECT_EQ(writer.start(made_up(network_, step)), folder / checkpoint_name(step));
  }
  std::vector<int64_t> steps;
  for (const fs::path& path : list_checkpoints(folder)) steps.push_back(checkpoint_step(path));
  EXPECT_EQ(steps, (std::vector<int64_t>{20, 30}));
  {
    CheckpointWriter writer(network_, folder, 1);  // as a run that goes on from an earlier one
    writer.start(made_up(network_, 25));
  }
  steps.clear();
  for (const fs::path& path : list_checkpoints(folder)) steps.push_back(checkpoint_step(path));
  EXPECT_EQ(steps, (std::vector<int64_t>{25, 30})) << "later ones are another run's";
}

TEST_F(CheckpointFile, WeightsThatAreNotFiniteAreNotWritten) {
  const fs::path path = write(8), weights = path / "weights.safetensors";
  const std::string before = read_text(weights);
  const auto files = [&] { return std::distance(fs::recursive_directory_iterator(folder_.path()), {}); };
  const auto count = files();
  for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()}) {
    Checkpoint checkpoint = made_up(network_, 8);
    checkpoint.state.weights.at("dense/kernel")[23] = bad;
    const std::initializer_list<std::string> parts{"dense/kernel", "[3, 8]",
                                                   fmt::format("holds {} as its element 23", bad), "not written"};
    EXPECT_TRUE(says(error_of<Error>([&] { write_checkpoint(path, network_, checkpoint); }), parts));
    EXPECT_TRUE(
        says(error_of<Error>([&] { write_weights(weights.string(), network_, checkpoint.state.weights); }), parts));
    checkpoint = made_up(network_, 8);
    checkpoint.state.callbacks.push_back({"Best", {.text = "{}", .weights = checkpoint.state.weights}});
    checkpoint.state.callbacks[0].second.weights.at("norm/moving_variance")[1] = bad;
    EXPECT_TRUE(says(error_of<Error>([&] { write_checkpoint(path, network_, checkpoint); }),
                     {"that Best keeps", "norm/moving_variance"}));
  }
  EXPECT_EQ(read_text(weights), before);
  EXPECT_EQ(files(), count) << "and nothing temporary";
  EXPECT_EQ(error_of([&] { open_checkpoint(path); }), "");
  Checkpoint checkpoint = made_up(network_, 9);
  checkpoint.state.slots[1].at("dense/kernel")[0] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(error_of<Error>([&] { write_checkpoint(folder_.path() / "step-000009", network_, checkpoint); }), "")
      << "what an optimizer keeps may be: the next step goes on from it all the same";
}

TEST_F(CheckpointFile, AFullDiskIsToldAndLeavesTheLastOne) {
  const fs::path folder = folder_.path() / "full", last = folder / checkpoint_name(1);
  CheckpointWriter writer(network_, folder, 1);
  writer.start(made_up(network_, 1));
  writer.wait();
  // As a disk without space would: no file may have more than 100 bytes.
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit tight{100, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
  writer.start(made_up(network_, 2));
  const std::string error = error_of<Error>([&] { writer.wait(); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(says(error, {"weights.safetensors", "File too large"}));
  EXPECT_EQ(find_checkpoint(folder), last);
  EXPECT_EQ(error_of([&] { open_checkpoint(folder); }), "");
  EXPECT_NO_THROW(writer.check()) << "an error is told once";
}

}  // namespace
}  // namespace lockstep
