// What is made of a trained run by its folder: tests and predictions, of data sets and of image files.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "launch/data/readers/open.h"
#include "launch/model/model.h"
#include "launch/record/weights_file.h"
#include "layers/zoo/zoo.h"
#include "tests/launch/data/golden_files.h"
#include "tests/support/npy.h"
#include "tests/support/paths.h"
#include "tests/support/run_command.h"
#include "tests/support/temporary_folder.h"

namespace {

namespace fs = std::filesystem;
using namespace lockstep;
using namespace lockstep::test;
using lockstep::testing::write_file;
using Json = nlohmann::json;

Outcome run(const std::string& arguments) { return run_command(binary_dir() + "/lockstep " + arguments); }

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
      << "without the run's folder, normalisation is measured again";
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
  EXPECT_EQ(line, "image,place,label,class,probability");
  std::getline(csv, line);
  EXPECT_TRUE(line.starts_with("\"" + path("images/ants/a, b.png") + "\",1,")) << line;
}

std::string ending_in(int64_t units, const std::string& activation, const std::string& shape) {
  return R"({"name": "end", "layers": [{"type": "Input", "shape": )" + shape +
         R"(}, {"type": "Flatten"}, {"type": "Dense", "units": )" + std::to_string(units) + R"(, "activation": ")" +
         activation + R"("}]})";
}

TEST_F(CliTrained, OneSigmoidTellsTwoClassesApart) {
  write_file(path("one.json"), ending_in(1, "sigmoid", "[8, 8, 1]"));
  train("--data synthetic:8x8x1/2/64/37 --loss binary_crossentropy --epochs 5 --lr 0.05 --model " + path("one.json"));
  Runtime runtime;
  Model model(read_network(path("one.json")), runtime);
  model.set_weights(read_weights(path("run/weights.safetensors"), model.network()));
  const Data data = prepare_data("synthetic:8x8x1/2/64/37").data;
  const std::vector<float> second = model.predict(data.test, {.ranks = 1});
  ASSERT_EQ(second.size(), 37U);

  const std::string start = "predict --run " + path("run");
  const Outcome outcome = run(start + " --format json");
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  const Json predicted = Json::parse(outcome.text);
  ASSERT_EQ(predicted.size(), 37U);
  std::vector<float> image(64);
  int right = 0, firsts = 0;
  for (size_t i = 0; i < predicted.size(); ++i) {
    const Json& classes = predicted[i]["predictions"];
    ASSERT_EQ(classes.size(), 2U) << i;
    const int likely = second[i] > 0.5F ? 1 : 0;
    EXPECT_EQ(classes[0]["label"], likely) << i << ": " << second[i];
    EXPECT_EQ(classes[0]["class"], std::to_string(likely));
    EXPECT_EQ(classes[1]["label"], 1 - likely);
    for (const Json& one : classes)
      EXPECT_EQ(one["probability"].get<float>(), one["label"] == 1 ? second[i] : 1 - second[i]) << i;
    firsts += likely == 0;
    right += likely == data.test->read(static_cast<int64_t>(i), image);
  }
  EXPECT_GT(firsts, 0) << "both classes are to be predicted, or the test tells little";
  EXPECT_LT(firsts, 37);
  const Outcome tested = run("evaluate --run " + path("run"));
  EXPECT_NEAR(std::stod("0" + tested.line_after("test accuracy ")), 100.0 * right / 37, 0.006) << tested.text;
  EXPECT_TRUE(
      run(start + " --top 1")
          .says(fmt::format("0:  {} {:.2f} %\n", second[0] > 0.5F ? 1 : 0, 100 * std::max(second[0], 1 - second[0]))));

  // Of named classes the first is what the sigmoid says little to.
  make_images();
  write_file(path("one.json"), ending_in(1, "sigmoid", "[16, 16, 3]"));
  const std::string named =
      "train --quiet --ranks 1 --resize 16 --batch 8 --steps 3 --loss binary_crossentropy --data "
      "images:" +
      path("images") + " --model " + path("one.json") + " --out " + path("named");
  ASSERT_EQ(run(named).code, 0);
  const Json of_files =
      Json::parse(run("predict --run " + path("named") + " --format json " + path("images/bees/e.png")).text);
  const Json& classes = of_files[0]["predictions"];
  ASSERT_EQ(classes.size(), 2U);
  for (const Json& one : classes) EXPECT_EQ(one["class"], one["label"] == 1 ? "bees" : "ants");
  EXPECT_NEAR(classes[0]["probability"].get<float>() + classes[1]["probability"].get<float>(), 1, 1e-6);
  EXPECT_GE(classes[0]["probability"], classes[1]["probability"]);
}

TEST_F(CliTrained, WhatAreNoProbabilitiesIsPrintedAsItIs) {
  write_file(path("linear.json"), ending_in(3, "linear", "[8, 8, 1]"));
  Runtime runtime;
  Model model(read_network(path("linear.json")), runtime);
  model.compile({.optimizer = SGD{}, .loss = SparseCategoricalCrossentropy{.from_logits = true}});
  const Data data = prepare_data("synthetic:8x8x1/3/32/5").data;
  model.fit(data.train, {.steps = 1, .run = {.ranks = 1}});
  model.save_weights(path("linear.safetensors"));
  const std::vector<float> expected = model.predict(data.test, {.ranks = 1});

  const std::string start = "predict --data synthetic:8x8x1/3/32/5 --model " + path("linear.json") + " --weights " +
                            path("linear.safetensors") + " --format ";
  const Json predicted = Json::parse(run(start + "json").text);
  ASSERT_EQ(predicted.size(), 5U);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_FALSE(predicted[i].contains("predictions"));
    EXPECT_EQ(predicted[i]["outputs"].get<std::vector<float>>(),
              std::vector<float>(expected.begin() + static_cast<ptrdiff_t>(3 * i),
                                 expected.begin() + static_cast<ptrdiff_t>(3 * i + 3)));
  }
  const Outcome csv = run(start + "csv"), text = run(start + "text");
  EXPECT_TRUE(csv.text.starts_with(fmt::format("image,output,value\n0,0,{}\n0,1,{}\n", expected[0], expected[1])))
      << csv.text;
  EXPECT_TRUE(text.text.starts_with(fmt::format("0:  {:.6g}  {:.6g}  {:.6g}\n", expected[0], expected[1], expected[2])))
      << text.text;
  EXPECT_FALSE(text.says("%"));
}

/// The predictions of a JSON answer, by image.
std::map<std::string, Json> by_image(const Outcome& outcome) {
  std::map<std::string, Json> all;
  for (const Json& one : Json::parse(outcome.text)) all[one["image"]] = one["predictions"];
  return all;
}

TEST_F(CliTrained, FilesArePreparedAsTheArraysOfTheRunWere) {
  make_images();
  const std::string names[] = {"ants/a, b.png", "ants/c.jpg", "bees/d.jpg", "bees/e.png"};
  std::string files;
  for (const std::string& name : names) files += "'" + path("images/" + name) + "' ";
  // Packed as pixels, at their own size, of which training takes the whole; or at another, of which it takes what pack
  // has left; or both.
  int number = 0;
  struct Case {
    const char *packing, *training, *other;
  };
  for (const auto& [packing, training, other] :
       {Case{"--resize 29x37", "--resize 28x20", "--resize 28x20 "},
        Case{"--resize 29x37", "--resize 28:29", "--resize 28 "}, Case{"--resize 28:29", "", "--resize 28 "},
        Case{"--resize 29x31 --channels 1", "--resize 28", "--resize 28 "}}) {
    const std::string pack = path(std::to_string(number) + ".pack"), folder = path(std::to_string(number++));
    ASSERT_EQ(run("pack images:" + path("images") + " " + pack + " " + packing).code, 0);
    const Outcome trained = run("train --quiet --ranks 1 --model lenet5 --batch 8 --steps 20 --out " + folder +
                                " --data packed:" + pack + " " + training);
    ASSERT_EQ(trained.code, 0) << trained.text;
    const std::string start = "predict --format json --run " + folder + " ";
    auto of_files = by_image(run(start + files)), of_data = by_image(run(start));
    ASSERT_EQ(of_files.size(), 4U);
    for (size_t i = 0; i < 4; ++i)
      EXPECT_EQ(of_files[path("images/" + names[i])], of_data[std::to_string(i)]) << packing << training << i;
    // The folder, too, is read as the pack was.
    EXPECT_EQ(by_image(run(start + "--data images:" + path("images"))), of_data) << packing << training;
    EXPECT_NE(by_image(run(start + other + files)), of_files) << "negative control";
  }
}

TEST_F(CliTrained, FilesAreRefusedByRunsOnFloatsOfAnotherRange) {
  make_images();
  const std::string start = "train --quiet --ranks 1 --model lenet5 --batch 4 --lanes 4 --steps 1 ";
  for (const auto& [least, most] : {std::pair{0, 255}, {-2, 2}, {0, 1}}) {
    std::vector<float> pixels(size_t{4} * 32 * 32);
    for (size_t i = 0; i < pixels.size(); ++i)
      pixels[i] = static_cast<float>(least) + static_cast<float>(most - least) * static_cast<float>(i % 64) / 63;
    write_file(path("x.npy"),
               lockstep::testing::npy("<f4", "(4, 32, 32)",
                                      {reinterpret_cast<const char*>(pixels.data()), 4 * pixels.size()}));
    write_file(path("y.npy"), lockstep::testing::npy("|u1", "(4,)", std::string("\0\1\0\1", 4)));
    const std::string folder = path(fmt::format("floats{}", least + most));
    const Outcome trained = run(start + "--data npy:" + path("x.npy") + "," + path("y.npy") + " --out " + folder);
    ASSERT_EQ(trained.code, 0) << trained.text;
    const Outcome predicted = run("predict --run " + folder + " " + path("images/bees/e.png"));
    EXPECT_EQ(predicted.code, most == 1 ? 0 : 2) << predicted.text;
    EXPECT_EQ(predicted.says(fmt::format("floats from {} to {}", least, most)), most != 1) << predicted.text;
    EXPECT_EQ(run("predict --run " + folder).code, 0);
  }
}

TEST_F(CliTrained, CorruptFilesAreSkippedByName) {
  make_images();
  train("--model lenet5 --data images:" + path("images") + " --resize 32 --batch 8 --steps 3");
  const std::string whole = lockstep::testing::golden_text("jpeg_420");
  lockstep::testing::write_file(path("cut.jpg"), whole.substr(0, whole.size() - 60));
  const std::string start = "predict --format json --run " + path("run") + " ", good = path("images/bees/d.jpg") + " ",
                    other = path("images/bees/e.png");
  EXPECT_EQ(run(start + good + path("cut.jpg")).code, 2);
  const std::string skip = start + "--on-corrupt skip ";
  const Outcome both = run(skip + path("cut.jpg") + " " + good + path("cut.jpg") + " " + other + " 2>/dev/null");
  ASSERT_EQ(both.code, 0) << both.text;
  EXPECT_EQ(by_image(both), by_image(run(start + good + other)));
  EXPECT_TRUE(run(skip + path("cut.jpg") + " " + good).says("cut.jpg: byte"));
  EXPECT_EQ(run(skip + path("cut.jpg")).code, 2) << "none is left";
}

TEST_F(CliTrained, WhatCannotBePredictedIsRefused) {
  train("--model lenet5 --data digits --resize 28 --batch 64 --steps 1");
  std::ofstream(path("no.png")) << "no image";
  make_images();
  write_file(path("few.json"), ending_in(1, "softmax", "[16, 16, 3]"));
  const Network few = read_network(path("few.json"));
  write_weights(path("few.safetensors"), few, {{"dense/kernel", std::vector<float>(768)}, {"dense/bias", {0}}});
  const std::string start = "predict --run " + path("run");
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases{
      {"predict --resize 16 --data images:" + path("images") + " --model " + path("few.json") + " --weights " +
           path("few.safetensors"),
       {"'end' ends in [1]", "1 classes apart", "the data has 2"}},
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
