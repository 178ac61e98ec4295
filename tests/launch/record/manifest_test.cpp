#include "launch/record/manifest.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <csignal>
#include <limits>

#include "core/error.h"
#include "core/random.h"
#include "launch/files/durable.h"
#include "launch/files/sha256.h"
#include "launch/host/build_info.h"
#include "launch/host/system_info.h"
#include "launch/record/metrics.h"
#include "launch/record/progress.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

namespace lockstep {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using test::error_of;
using test::says;
using testing::read_text;

// FIPS 180-4's examples.
TEST(Sha256, GivesTheKnownAnswers) {
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 hash;
  hash.update("a");
  EXPECT_EQ(hash.hex(), sha256("a"));
  hash.update("bc");
  EXPECT_EQ(hash.hex(), sha256("abc")) << "reading the digest must not end it";
}

size_t files_in(const fs::path& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

/// No file can grow while it lives: stands for a full disk.
class FileSizeLimit {
 public:
  FileSizeLimit() : handler_(std::signal(SIGXFSZ, SIG_IGN)) {  // which would end the program
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit none{0, before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &none), 0);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

TEST(RunDirectory, RefusesOneThatHoldsARun) {
  for (const std::string name : {"manifest.json", "metrics.jsonl"}) {
    const testing::TemporaryFolder folder;
    EXPECT_NO_THROW(expect_no_run(folder.path()));
    testing::write_file(folder.path() / name, "old");
    EXPECT_TRUE(
        says(error_of([&] { expect_no_run(folder.path()); }), {folder.path().string(), "holds another run", name}));
    EXPECT_EQ(read_text(folder.path() / name), "old");
    EXPECT_EQ(files_in(folder.path()), 1U);
  }
}

TEST(Manifest, TellsWhatRanWhereAndWhen) {
  const testing::TemporaryFolder folder;
  Manifest manifest;
  manifest.json()["configuration"] = {{"batch", 32}};
  manifest.write(folder.path());
  auto read = ordered_json::parse(read_text(folder.path() / "manifest.json"));
  EXPECT_EQ(read["lockstep"], build_info().version);
  EXPECT_EQ(read["configuration"]["batch"], 32);
  EXPECT_TRUE(read["ended"].is_null()) << "no result yet";
  for (const char* library :
       {"onednn", "cuda", "mpi", "fmt", "spdlog", "nlohmann_json", "openssl", "zlib", "glibc", "compiler"})
    EXPECT_FALSE(read["libraries"].value(library, "").empty()) << library;
  for (const char* key : {"host", "os", "kernel", "cpu"}) EXPECT_FALSE(read["system"].value(key, "").empty()) << key;
  const std::string revision = read["build"]["git_revision"];
  EXPECT_TRUE(revision == "unknown" || revision.size() == 40) << revision;
  EXPECT_EQ(revision == "unknown", read["build"]["git_dirty"].is_null());

  manifest.json()["result"] = {{"accuracy", 0.1F}};
  manifest.write(folder.path());
  read = ordered_json::parse(read_text(folder.path() / "manifest.json"));
  EXPECT_GE(read["ended"].get<std::string>(), read["started"].get<std::string>());
  EXPECT_EQ(read["result"]["accuracy"].get<float>(), 0.1F);
  EXPECT_EQ(files_in(folder.path()), 1U) << "a temporary file was left";
  EXPECT_THROW(manifest.write(folder.path() / "none"), Error);
}

TEST(WriteAtomically, LeavesTheOldFileWhenItFails) {
  const testing::TemporaryFolder folder;
  const fs::path path = folder.path() / "x.json";
  write_atomically(path, "old");
  write_atomically(path, "new");
  EXPECT_EQ(read_text(path), "new");
  const FileSizeLimit limit;
  EXPECT_TRUE(says(error_of<Error>([&] { write_atomically(path, "newer"); }), {path.string(), "too large"}));
  EXPECT_EQ(read_text(path), "new");
  EXPECT_EQ(files_in(folder.path()), 1U);
}

TEST(Manifest, WritesTimesInUtc) {
  EXPECT_EQ(utc(std::chrono::system_clock::from_time_t(0)), "1970-01-01T00:00:00Z");
  EXPECT_EQ(utc(std::chrono::system_clock::from_time_t(1740830400)), "2025-03-01T12:00:00Z");
}

TEST(SystemInfo, ReadsBothFormsOfCpuInfo) {
  std::istringstream x86(
      "processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\nflags\t\t: fpu sse4_2 avx avx2 fma avx512f\n\n"
      "processor\t: 1\nmodel name\t: Other\nflags\t\t: amx_tile\n");
  const CpuInfo info = parse_cpu_info(x86);
  EXPECT_EQ(info.model, "Some CPU @ 2.0GHz");
  EXPECT_EQ(info.isa, (std::vector<std::string>{"avx", "avx2", "avx512f", "fma", "sse4_2"}));
  std::istringstream arm("processor : 0\nFeatures\t: fp asimd sve sve2 crc32\nempty:\n");
  EXPECT_EQ(parse_cpu_info(arm).isa, (std::vector<std::string>{"asimd", "sve", "sve2"}));
  std::istringstream nothing("");
  EXPECT_EQ(parse_cpu_info(nothing).model, "unknown");
}

TEST(JsonNumber, IsShortAndReadsBackToTheSameBits) {
  EXPECT_EQ(json_number(0.1F), "0.1");
  EXPECT_EQ(json_number(0.1), "0.1");
  EXPECT_EQ(json_number(1.0F), "1.0");
  EXPECT_EQ(json_number(-0.0F), "-0.0");
  // The shortest digits of this one become another float when they are read as a double first.
  const float twice_rounded = std::bit_cast<float>(0x15ae43fdU);
  ASSERT_NE(static_cast<float>(7.038531e-26), twice_rounded) << "the case tests nothing";

  std::vector<float> values{twice_rounded, 0.0F, -0.0F, 1e-45F, 3.4028235e38F, 1.1754944e-38F, 16777216.0F, 1e10F};
  const Random random(1, Purpose::data);
  for (uint64_t i = 0; i < 100000; ++i)
    for (uint32_t bits : random.bits(i, 0))
      if (std::isfinite(std::bit_cast<float>(bits))) values.push_back(std::bit_cast<float>(bits));
  int different = 0;
  for (float value : values) {
    const auto parsed = nlohmann::json::parse(json_number(value));
    different +=
        !parsed.is_number_float() || std::bit_cast<uint32_t>(parsed.get<float>()) != std::bit_cast<uint32_t>(value);
    different +=
        std::bit_cast<uint32_t>(std::strtof(json_number(value).c_str(), nullptr)) != std::bit_cast<uint32_t>(value);
    const double wide = static_cast<double>(value) / 3;
    different += nlohmann::json::parse(json_number(wide)).get<double>() != wide;
  }
  EXPECT_EQ(different, 0);
}

TEST(JsonNumber, WritesWhatIsNoNumberAsText) {
  for (const auto& [value, text] : {std::pair{std::numeric_limits<float>::quiet_NaN(), "nan"},
                                    {std::numeric_limits<float>::infinity(), "inf"},
                                    {-std::numeric_limits<float>::infinity(), "-inf"}})
    EXPECT_EQ(nlohmann::json::parse(json_number(value)), text);
}

TEST(MetricsWriter, WritesALineAtOnce) {
  const testing::TemporaryFolder folder;
  const fs::path path = folder.path() / "metrics.jsonl";
  MetricsWriter metrics(path);
  metrics.step({.epoch = 0,
                .step = 3,
                .loss = 0.7F,
                .lr = 0.1F,
                .images_per_second = 1234.5,
                .data_share = 0.25,
                .metrics = {{"accuracy", {1}}, {"confusion_matrix", {3, 0, 1, 2}}}});
  EXPECT_EQ(read_text(path),
            "{\"kind\":\"step\",\"epoch\":0,\"step\":3,\"loss\":0.7,\"accuracy\":1.0,"
            "\"confusion_matrix\":[3.0,0.0,1.0,2.0],\"lr\":0.1,"
            "\"images_per_second\":1234.5,\"data_share\":0.25}\n");
  metrics.epoch({.epoch = 1, .step = 9, .loss = std::nanf(""), .validation = Evaluation{.loss = 0.1}});
  std::istringstream lines(read_text(path));
  std::string line;
  std::getline(lines, line);
  std::getline(lines, line);
  const auto read = nlohmann::json::parse(line);
  EXPECT_EQ(read["kind"], "epoch");
  EXPECT_EQ(read["step"], 9);
  EXPECT_EQ(read["loss"], "nan");
  EXPECT_EQ(read["val_loss"], 0.1);
  EXPECT_FALSE(std::getline(lines, line));
  EXPECT_TRUE(says(error_of([&] { MetricsWriter again(path); }), {path.string(), "exists"}));
}

TEST(MetricsWriter, SaysWhenItCannotWrite) {
  const testing::TemporaryFolder folder;
  EXPECT_TRUE(says(error_of([&] { MetricsWriter(folder.path() / "none/metrics.jsonl"); }), {"none", "No such"}));
  MetricsWriter metrics(folder.path() / "metrics.jsonl");
  const FileSizeLimit limit;
  EXPECT_TRUE(says(error_of<Error>([&] { metrics.step({}); }), {"metrics.jsonl", "too large"}));
}

/// What Progress prints, with a clock that the test sets.
class Printed {
 public:
  explicit Printed(ProgressOptions options) : file_(std::tmpfile()) {
    options.out = file_;
    options.clock = [this] { return now; };
    progress.emplace(options);
  }
  Printed(const Printed&) = delete;
  Printed& operator=(const Printed&) = delete;
  ~Printed() { std::fclose(file_); }
  std::string text() {
    std::string all(static_cast<size_t>(std::ftell(file_)), ' ');
    std::rewind(file_);
    const size_t n = std::fread(all.data(), 1, all.size(), file_);
    all.resize(n);
    return all;
  }

  double now = 100;
  std::optional<Progress> progress;

 private:
  std::FILE* file_;
};

Report after(int64_t steps) {
  return {.epoch = 0,
          .epochs = 2,
          .step = steps - 1,
          .step_in_epoch = steps - 1,
          .steps_per_epoch = 10,
          .loss = 0.5F,
          .images_per_second = 640,
          .data_share = 0.031,
          .metrics = {{"accuracy", {0.975}}},
          .epoch_so_far = {.loss = 0.75, .metrics = {{"accuracy", {0.875}}}}};
}

TEST(Progress, PrintsPlainLinesNowAndThen) {
  Printed out({.terminal = false, .steps = 20, .interval = 10});
  for (int step = 1; step <= 5; ++step) {
    out.now += 4;
    out.progress->step(after(step));
  }
  out.progress->epoch(after(10));
  EXPECT_EQ(out.text(),
            "epoch 1/2  step 3/10  loss 0.7500  accuracy 87.50 %  640 images/s  waiting for data 3 %  1 min 08 s left\n"
            "epoch 1/2  loss 0.5000  accuracy 97.50 %  640 images/s  waiting for data 3 %\n");
}

TEST(Progress, RedrawsOneLineOnATerminal) {
  Printed out({.terminal = true, .steps = 20});
  out.now += 1;
  out.progress->step(after(1));
  out.now += 0.01;
  out.progress->step(after(2));  // too soon
  out.now += 1;
  out.progress->step(after(5));
  out.progress->epoch(after(10));
  const std::string text = out.text();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_TRUE(says(text, {"\r\x1b[Kepoch 1/2 [=         ] step 1/10", "[=====     ] step 5/10"}));
  EXPECT_EQ(text.find("step 2/10"), std::string::npos);
  EXPECT_EQ(text.substr(text.rfind('\r')),
            "\r\x1b[Kepoch 1/2  loss 0.5000  accuracy 97.50 %  640 images/s  waiting for data 3 %\n");
}

TEST(Progress, LeavesOutWhatMattersLeastWhereALineIsNarrow) {
  Printed out({.terminal = true, .steps = 20});
  out.now += 1;
  Report report = after(5);
  out.progress->step(report);
  // 80 columns, as of what is no terminal.
  EXPECT_EQ(out.text(), "\r\x1b[Kepoch 1/2 [=====     ] step 5/10  loss 0.7500  accuracy 87.50 %  3 s left");
  out.now += 1;
  for (const char* name : {"precision", "recall"}) report.epoch_so_far.metrics.push_back({name, {0.5}});
  out.progress->step(report);
  const std::string text = out.text();
  EXPECT_EQ(text.substr(text.rfind('\r')), "\r\x1b[Kepoch 1/2  step 5/10  loss 0.7500  6 s left");
}

TEST(Progress, ShowsValidationWhileItIsMadeAndAtTheEpochsEnd) {
  Report report = after(10);
  Printed plain({.terminal = false, .steps = 20, .interval = 10});
  for (int64_t step = 1; step <= 4; ++step) {
    plain.now += 4;
    plain.progress->validation(report, step, 4);
  }
  report.validation = {.loss = 0.25, .metrics = {{"accuracy", {0.5}}, {"mae", {0.125}}}};
  plain.progress->epoch(report);
  EXPECT_EQ(plain.text(),
            "epoch 1/2  validation step 3/4\n"
            "epoch 1/2  loss 0.5000  accuracy 97.50 %  val_loss 0.2500  val_accuracy 50.00 %  val_mae 0.1250  "
            "640 images/s  waiting for data 3 %\n");
  Printed drawn({.terminal = true, .steps = 20});
  drawn.now += 1;
  drawn.progress->validation(report, 3, 4);
  EXPECT_EQ(drawn.text(), "\r\x1b[Kepoch 1/2 [===============     ] validation step 3/4");
}

TEST(Progress, CountsToTheLastStepOfTheRun) {
  Printed out({.terminal = false, .steps = 6, .interval = 1});
  out.now += 10;
  out.progress->step(after(3));
  EXPECT_TRUE(says(out.text(), {"step 3/6  loss"}));
}

TEST(Progress, CountsTheTimeLeftFromWhereARestartBegan) {
  Printed out({.terminal = false, .steps = 20, .first_step = 10, .interval = 1});
  out.now += 10;
  out.progress->step(after(15));
  EXPECT_TRUE(says(out.text(), {"  10 s left"}));
}

TEST(Progress, IsQuietWhenAsked) {
  Printed out({.terminal = true, .quiet = true, .steps = 20});
  out.now += 60;
  out.progress->step(after(1));
  out.progress->epoch(after(10));
  out.progress->line("note");
  EXPECT_EQ(out.text(), "");
}

TEST(Progress, WritesDurations) {
  EXPECT_EQ(duration(-1), "0 s");
  EXPECT_EQ(duration(59.4), "59 s");
  EXPECT_EQ(duration(185), "3 min 05 s");
  EXPECT_EQ(duration(7620), "2 h 07 min");
}

}  // namespace
}  // namespace lockstep
