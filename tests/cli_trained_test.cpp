// What is made of a trained run by its folder: tests and predictions, of data sets and of image files.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "launch/data/open.h"
#include "launch/model.h"
#include "launch/weights_file.h"
#include "layers/zoo/zoo.h"
#include "tests/golden_files.h"
#include "tests/run_command.h"
#include "tests/temporary_folder.h"

namespace {

namespace fs = std::filesystem;
using namespace lockstep;
using namespace lockstep::test;
using Json = nlohmann::json;

Outcome run(const std::string& arguments) {
  return run_command(std::string(LOCKSTEP_BINARY_DIR) + "/lockstep " + arguments);
}

class CliTrained : public ::testing::Test {
 protected:
  lockstep::testing::TemporaryFolder folder_;
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }

  void train(const std::string& options) const {
    const Outcome trained = run("train --quiet --ranks 1 --out " + path("run") + " " + options);
    ASSERT_EQ(trained.code, 0) << trained.text;
  }
  /// Two classes of two images each.
  void make_images() const {
    for (const auto& [name, golden] : {std::pair{"ants/a, b.png", "png_rgb"},
                                       {"ants/c.jpg", "jpeg_420"},
                                       {"bees/d.jpg", "jpeg_420"},
                                       {"bees/e.png", "png_rgb"}}) {
      fs::create_directories(fs::path(path(std::string("images/") + name)).parent_path());
      std::ofstream(path(std::string("images/") + name), std::ios::binary) << lockstep::testing::golden_text(golden);
    }
  }
};

const std::string digits = "--model lenet5 --data digits --resize 28 --batch 64 --steps 20 --lr 0.003";

TEST_F(CliTrained, PredictionsAreTheModelsOnAnyNumberOfRanks) {
  train(digits);
  const Outcome outcome = run("predict --run " + path("run") + " --top 10 --format json --ranks 1");
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  const Json predicted = Json::parse(outcome.text);

  Runtime runtime;
  Model model(zoo_model("lenet5", {28, 28, 1}, 10), runtime);
  model.set_weights(read_weights(path("run/weights.safetensors"), model.network()));
  const Data data = prepare_data("digits", {.resize = "28"}).data;
  const std::vector<float> expected = model.predict(data.test, {.ranks = 1});
  ASSERT_EQ(predicted.size(), static_cast<size_t>(data.test->size()));
  std::vector<float> image(28 * 28);
  int right = 0;
  for (size_t i = 0; i < predicted.size(); ++i) {
    const Json& classes = predicted[i]["predictions"];
    ASSERT_EQ(classes.size(), 10U);
    for (size_t rank = 0; rank < 10; ++rank) {
      const size_t label = classes[rank]["label"];
      EXPECT_EQ(classes[rank]["probability"].get<float>(), expected[i * 10 + label]) << i;
      if (rank > 0) {
        EXPECT_LE(classes[rank]["probability"], classes[rank - 1]["probability"]);
      }
    }
    right += classes[0]["label"] == data.test->read(static_cast<int64_t>(i), image);
  }
  const Outcome tested = run("evaluate --run " + path("run"));
  EXPECT_NEAR(std::stod("0" + tested.line_after("test accuracy ")),
              100.0 * right / static_cast<double>(predicted.size()), 0.006)
      << tested.text;
  EXPECT_EQ(run("predict --run " + path("run") + " --top 10 --format json --ranks 4").text, outcome.text);
  EXPECT_EQ(run("predict --model lenet5 --data digits --resize 28 --weights " + path("run/weights.safetensors") +
                " --top 10 --format json")
                .text,
            outcome.text)
      << "without the run's folder, normalisation is measured anew";
}

TEST_F(CliTrained, ImageFilesAreReadAsInTraining) {
  make_images();
  train("--model lenet5 --data images:" + path("images") + " --resize 32:40 --batch 8 --steps 3");
  const std::string start = "predict --run " + path("run") + " ";
  const Outcome set = run(start + "--format json");
  ASSERT_EQ(set.code, 0) << set.text;
  std::string files;
  for (const char* name : {"'ants/a, b.png'", "ants/c.jpg", "bees/d.jpg", "bees/e.png"})
    files += path("images/") + name + " ";
  // The path of the folder needs no quotes.
  const Outcome single = run(start + "--format json " + files);
  ASSERT_EQ(single.code, 0) << single.text;
  const Json of_set = Json::parse(set.text), of_files = Json::parse(single.text);
  ASSERT_EQ(of_files.size(), 4U);
  ASSERT_EQ(of_set.size(), 4U);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(of_files[i]["predictions"], of_set[i]["predictions"]) << i;
  EXPECT_NE(of_files[0]["predictions"], of_files[1]["predictions"]);
  const std::string first = of_files[0]["predictions"][0]["class"];
  EXPECT_TRUE(first == "ants" || first == "bees") << first;

  const Outcome text = run(start + path("images/bees/e.png"));
  EXPECT_TRUE(text.says("bees/e.png:  ")) << text.text;
  EXPECT_TRUE(text.says(" %")) << text.text;
  EXPECT_EQ(run(start + "--format csv --output " + path("out.csv") + " " + files).text, "");
  std::ifstream csv(path("out.csv"));
  std::string line;
  std::getline(csv, line);
  EXPECT_EQ(line, "image,rank,label,class,probability");
  std::getline(csv, line);
  EXPECT_TRUE(line.starts_with("\"" + path("images/ants/a, b.png") + "\",1,")) << line;
}

TEST_F(CliTrained, WhatCannotBePredictedIsRefused) {
  train("--model lenet5 --data digits --resize 28 --batch 64 --steps 1");
  std::ofstream(path("no.png")) << "no image";
  const std::string start = "predict --run " + path("run");
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases{
      {"predict --model lenet5 --resize 28", {"--weights or --run is missing"}},
      {"predict --run " + path("nowhere"), {"nowhere/manifest.json", "No such file"}},
      {start + " --model lenet5", {"expected no --model"}},
      {start + " --top 0", {"--top is 0", "a number from 1"}},
      {start + " --format xml", {"unknown format 'xml'", "text, csv, json"}},
      {start + " " + path("none.png"), {"none.png", "No such file"}},
      {start + " " + path("no.png"), {"no.png"}},
      {start + " --data synthetic:8x8x1/10/8 --resize 16", {"[16, 16, 1]", "[28, 28, 1]"}},
      {start + " --output /nowhere/x.csv", {"/nowhere/x.csv"}},
      {"evaluate --run " + path("."), {"manifest.json", "No such file"}},
  };
  for (const auto& [arguments, says] : cases) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, arguments.find("/nowhere/x") == std::string::npos ? 2 : 1) << arguments << outcome.text;
    for (const std::string& part : says) EXPECT_TRUE(outcome.says(part)) << arguments << "\n" << outcome.text;
    EXPECT_EQ(outcome.count("lockstep: error"), 1U) << arguments << "\n" << outcome.text;
  }
}

}  // namespace
