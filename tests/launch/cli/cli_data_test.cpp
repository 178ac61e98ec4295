// Image files and packed data from the command line: what the README shows, and the same bits by every way.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/launch/data/golden_files.h"
#include "tests/support/paths.h"
#include "tests/support/run_command.h"
#include "tests/support/temporary_folder.h"

namespace {

namespace fs = std::filesystem;
using namespace lockstep::test;
using lockstep::testing::golden_text;
using lockstep::testing::TemporaryFolder;
using lockstep::testing::write_file;

Outcome run(const std::string& arguments) { return run_command(binary_dir() + "/lockstep " + arguments); }

/// Two classes of eight files.
class CliData : public testing::Test {
 protected:
  CliData() {
    for (const char* name : {"in", "in/ants", "in/bees"}) fs::create_directory(path(name));
    for (int i = 1; i <= 8; ++i) {
      write_file(path("in/ants/" + std::to_string(i) + ".jpg"), golden_text("jpeg_exif_" + std::to_string(i)));
      write_file(path("in/bees/" + std::to_string(i) + ".png"), golden_text("png_exif_" + std::to_string(i)));
    }
  }
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string train(const std::string& data, const std::string& more = "") const {
    return "train --model " + source_dir() + "/examples/small.json --batch 8 --lanes 4 --steps 3 --quiet --data " +
           data + " " + more;
  }

 private:
  TemporaryFolder folder_;
};

TEST_F(CliData, FilesAndPackedFilesTrainAlike) {
  const std::string images = "images:" + path("in"), size = "--resize 8 --channels 1 ";
  const Outcome packed = run("pack " + images + " " + path("small.pack") + " " + size);
  EXPECT_EQ(packed.code, 0) << packed.text;
  EXPECT_TRUE(packed.says("16 images")) << packed.text;
  EXPECT_TRUE(run("pack " + images + " " + path("files.pack")).says("16 image files"));
  const Outcome trained = run(train(images, size + "--augment resized_crop:30,flip,brightness:10"));
  const std::string sha = trained.line_after("weights sha256 ");
  ASSERT_EQ(sha.size(), 64U) << trained.text;
  // With other workers and ranks, and from the files in a pack.
  const std::string augment = size + "--augment resized_crop:30,flip,brightness:10 ";
  EXPECT_EQ(run(train(images, augment + "--workers 3 --ranks 2")).line_after("weights sha256 "), sha);
  EXPECT_EQ(run(train("packed:" + path("files.pack"), augment)).line_after("weights sha256 "), sha);
  // Without a part to choose from the original, pixels do as well.
  const std::string plain = run(train(images, size)).line_after("weights sha256 ");
  EXPECT_EQ(run(train("packed:" + path("small.pack"))).line_after("weights sha256 "), plain);
  EXPECT_NE(plain, sha);
}

TEST_F(CliData, APartIsHeldOut) {
  const Outcome trained = run(train("images:" + path("in"), "--resize 8 --channels 1 --validation-split 0.4 --seed 2"));
  EXPECT_EQ(trained.code, 0) << trained.text;
  EXPECT_TRUE(trained.says("validation accuracy")) << trained.text;
  EXPECT_TRUE(run(train("images:" + path("in"), "--resize 8 --validation-split 1.5")).says("expected above 0"));
}

TEST_F(CliData, AStratifiedSplitIsRecordedAndKept) {
  const std::string all =
      train("images:" + path("in"),
            "--resize 8 --channels 1 --validation-split stratified:0.25 --checkpoint-every 1 --seed 3 ");
  const Outcome straight = run(all + "--out " + path("run"));
  ASSERT_EQ(straight.code, 0) << straight.text;
  const auto manifest = nlohmann::json::parse(lockstep::testing::read_text(path("run/manifest.json")));
  EXPECT_EQ(manifest["data"]["validation_samples"], 4);
  EXPECT_EQ(manifest["options"]["validation-split"], "stratified:0.25");
  EXPECT_EQ(manifest["configuration"]["validation_split"], "stratified:0.25");
  const std::string evaluated = run("evaluate --run " + path("run")).line_after("validation accuracy ");
  EXPECT_EQ(evaluated.size() > 0 ? evaluated : "none", straight.line_after("validation accuracy "));
  EXPECT_EQ(run("predict --run " + path("run")).count("\n"), 4U);
  const Outcome resumed = run(all + "--resume " + path("run/checkpoints/step-000001") + " --out " + path("again"));
  EXPECT_EQ(resumed.line_after("weights sha256 "), straight.line_after("weights sha256 ")) << resumed.text;
  const std::string other = train("images:" + path("in"), "--resize 8 --channels 1 --validation-split 0.25 --seed 3 ");
  EXPECT_EQ(run(other + "--resume " + path("run/checkpoints/step-000001")).code, 2);
  for (const char* text : {"stratified", "stratified:", "0.1x", "classes:0.1"})
    EXPECT_TRUE(run(train("digits", std::string("--validation-split ") + text)).says("or stratified:0.1")) << text;
}

TEST_F(CliData, ArraysAreReadAsTheOptionsSay) {
  for (const char* name : {"channels_first", "channels_last"}) {
    const auto bytes = lockstep::testing::golden_array(name);
    write_file(path(name), {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  const std::string all = "train --model seed_cnn --resize 16 --batch 4 --lanes 2 --steps 2 --quiet --data npz:";
  const Outcome last = run(all + path("channels_last"));
  ASSERT_EQ(last.code, 0) << last.text;
  const Outcome first = run(all + path("channels_first") + " --channels-first --out " + path("run"));
  EXPECT_EQ(first.line_after("weights sha256 "), last.line_after("weights sha256 ")) << first.text;
  EXPECT_EQ(run("evaluate --run " + path("run")).line_after("test accuracy "), first.line_after("test accuracy "));
}

TEST_F(CliData, InfoTellsWhatThereIs) {
  write_file(path("in/bees/9.png"), golden_text("png_rgb").substr(0, 200));
  const Outcome info = run("data info images:" + path("in"));
  EXPECT_EQ(info.code, 0) << info.text;
  for (const char* part : {"2 classes", "train: 16 images of [224, 224, 3], image files of several sizes", "ants",
                           "corrupt files 1", "9.png: byte", "mean ", "sha256 "})
    EXPECT_TRUE(info.says(part)) << part << "\n" << info.text;
  EXPECT_TRUE(run("data info digits").says("test: 360 images of [8, 8, 1]"));
}

TEST_F(CliData, BadInputIsRefused) {
  for (const auto& [arguments, part] :
       {std::pair<std::string, std::string>{"data inf digits", "did you mean 'info'"},
        {"data info digit", "did you mean 'digits'"},
        {"data info", "DATA"},
        {"pack digits", "OUT"},
        {"train --data images:" + path("in"), "--resize"},
        {"train --data images:/nowhere --resize 8", "/nowhere"},
        {"train --data digits --workers 0", "--workers is 0"},
        {"train --data packed:" + path("in/ants/1.jpg"), "no packed file"},
        {"train --data images:" + path("in") + " --resize 8 --on-corrupt skim", "did you mean 'skip'"},
        {"train --data digits --augment blur:3", "'blur:3'"}}) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, 2) << arguments << "\n" << outcome.text;
    EXPECT_TRUE(outcome.says(part)) << arguments << "\n" << outcome.text;
  }
}

}  // namespace
