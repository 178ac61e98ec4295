// Weights for other frameworks: names, and where each value goes. The files are read here by hand.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "launch/record/export.h"
#include "launch/record/weights_file.h"
#include "layers/ops.h"
#include "layers/zoo/zoo.h"
#include "tests/support/errors.h"
#include "tests/support/paths.h"
#include "tests/support/run_command.h"
#include "tests/support/temporary_folder.h"

namespace {

using namespace lockstep;
using namespace lockstep::test;

/// Each value is its own number: tensors tell where it went.
Weights numbered(const Network& network) {
  Weights weights;
  for (const Variable& variable : network.variables()) {
    auto& values = weights[variable.name];
    for (int64_t i = 0; i < variable.shape.elements(); ++i) values.push_back(static_cast<float>(i));
  }
  return weights;
}

const ExportedTensor& find(const std::vector<ExportedTensor>& all, const std::string& name) {
  for (const ExportedTensor& one : all)
    if (one.name == name) return one;
  throw Error("no tensor '{}'", name);
}

/// A safetensors file: {"name": {"shape": …, "values": …}}.
nlohmann::json read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  nlohmann::json tensors;
  const auto header = nlohmann::json::parse(bytes.substr(8, length));
  for (const auto& [name, entry] : header.items()) {
    const size_t begin = entry["data_offsets"][0], end = entry["data_offsets"][1];
    std::vector<float> values((end - begin) / sizeof(float));
    std::memcpy(values.data(), bytes.data() + 8 + length + begin, end - begin);
    tensors[name] = {{"shape", entry["shape"]}, {"values", values}};
  }
  return tensors;
}

TEST(Export, TorchHasChannelsBeforeRowsAndFlattensThemFirst) {
  Sequential layers("net", Input({6, 5, 3}), Conv2D(4, {2, 3}), BatchNormalization(), Flatten(), ReLU(), Dense(7));
  const Network network = layers;  // 5 x 3 x 4 in front of Flatten
  const auto all = export_weights(network, numbered(network), ExportFormat::torch);
  const ExportedTensor& kernel = find(all, "conv2d.weight");
  EXPECT_EQ(kernel.shape, (Shape{4, 3, 2, 3}));
  for (int k = 0; k < 4; ++k)
    for (int c = 0; c < 3; ++c)
      for (int r = 0; r < 2; ++r)
        for (int s = 0; s < 3; ++s)
          ASSERT_EQ(kernel.values[static_cast<size_t>(((k * 3 + c) * 2 + r) * 3 + s)], ((k * 2 + r) * 3 + s) * 3 + c);
  const ExportedTensor& dense = find(all, "dense.weight");
  EXPECT_EQ(dense.shape, (Shape{7, 60}));
  for (int u = 0; u < 7; ++u)
    for (int c = 0; c < 4; ++c)
      for (int y = 0; y < 5; ++y)
        for (int x = 0; x < 3; ++x)
          ASSERT_EQ(dense.values[static_cast<size_t>(u * 60 + (c * 5 + y) * 3 + x)], u * 60 + (y * 3 + x) * 4 + c);
  EXPECT_EQ(find(all, "dense.bias").values, (std::vector<float>{0, 1, 2, 3, 4, 5, 6}));
  for (const char* name : {"weight", "bias", "running_mean", "running_var"})
    EXPECT_EQ(find(all, std::string("batch_normalization.") + name).shape, (Shape{4}));
  EXPECT_EQ(all.size(), 8U);
}

TEST(Export, KerasHasKernelsBehindRowsAndColumns) {
  Sequential layers("net", Input({6, 5, 3}), DepthwiseConv2D({3, 2}, {.depth_multiplier = 2}), Conv2D(4, {1, 1}),
                    Flatten(), Dense(7));
  const Network network = layers;
  const auto all = export_weights(network, numbered(network), ExportFormat::keras);
  const ExportedTensor& depthwise = find(all, "depthwise_conv2d/kernel");
  EXPECT_EQ(depthwise.shape, (Shape{3, 2, 3, 2}));
  for (int r = 0; r < 3; ++r)
    for (int s = 0; s < 2; ++s)
      for (int c = 0; c < 3; ++c)
        for (int m = 0; m < 2; ++m)
          ASSERT_EQ(depthwise.values[static_cast<size_t>(((r * 2 + s) * 3 + c) * 2 + m)],
                    ((c * 2 + m) * 3 + r) * 2 + s);
  const ExportedTensor& kernel = find(all, "conv2d/kernel");
  EXPECT_EQ(kernel.shape, (Shape{1, 1, 6, 4}));
  for (int c = 0; c < 6; ++c)
    for (int k = 0; k < 4; ++k) ASSERT_EQ(kernel.values[static_cast<size_t>(c * 4 + k)], k * 6 + c);
  const ExportedTensor& dense = find(all, "dense/kernel");
  EXPECT_EQ(dense.shape[1], 7);
  EXPECT_EQ(dense.values[1], static_cast<float>(dense.shape[0])) << "one column is one of our rows";
}

TEST(Export, FlattenedFeaturesThatAreMixedAreRefusedForTorch) {
  const Symbol image = Input({4, 4, 2});
  const Symbol flat = Flatten()(image);
  const Network network("net", Dense(3)(Concatenate()({flat, flat})));
  const Weights weights = numbered(network);
  EXPECT_TRUE(says(error_of([&] { export_weights(network, weights, ExportFormat::torch); }),
                   {"layer 'concatenate'", "expected a Dense layer after Flatten"}));
  EXPECT_EQ(export_weights(network, weights, ExportFormat::keras).size(), 2U);
  const auto error = [](const Symbol& end) {
    const Network other("net", Dense(3)(end));
    return error_of([&] { export_weights(other, numbered(other), ExportFormat::torch); });
  };
  EXPECT_TRUE(says(error(GroupNormalization(4)(Flatten()(Input({4, 4, 2})))),
                   {"layer 'group_normalization' (GroupNormalization) mixes"}));
  for (const int64_t all : {1, -1, 32}) EXPECT_EQ(error(GroupNormalization(all)(Flatten()(Input({4, 4, 2})))), "");
  EXPECT_EQ(error(GroupNormalization(4)(Dense(32)(Flatten()(Input({4, 4, 2}))))), "");
  EXPECT_TRUE(says(error(Flatten()(Reshape({2, 2, 8})(Input({4, 4, 2})))), {"layer 'reshape' (Reshape) mixes"}));
  EXPECT_EQ(error(Flatten()(Reshape({2, 2, 8})(Dense(32)(Flatten()(Input({4, 4, 2})))))), "");
}

TEST(Export, ReshapeFlattensAsFlattenDoes) {
  const auto dense = [](const auto& flatten) {
    Sequential layers("net", Input({3, 2, 4}), flatten, Dense(5));
    const Network network = layers;
    return find(export_weights(network, numbered(network), ExportFormat::torch), "dense.weight").values;
  };
  EXPECT_EQ(dense(Reshape({-1})), dense(Flatten()));
  EXPECT_EQ(dense(Flatten())[1], 4) << "the next pixel's first channel is PyTorch's second feature";
}

TEST(Export, SlopesAreAsPyTorchsPReLUHasThem) {
  const auto slopes = [](const std::vector<int64_t>& shared) {
    Sequential layers("net", Input({2, 3, 4}), PReLU(shared), Conv2D(4, {1, 1}));
    const Network network = layers;
    return find(export_weights(network, numbered(network), ExportFormat::torch), "p_re_lu.weight");
  };
  EXPECT_EQ(slopes({1, 2}).shape, (Shape{4}));
  EXPECT_EQ(slopes({1, 2}).values, (std::vector<float>{0, 1, 2, 3}));
  EXPECT_EQ(slopes({1, 2, 3}).shape, (Shape{1}));
  EXPECT_EQ(slopes({}).shape, (Shape{4, 2, 3}));
  EXPECT_EQ(slopes({}).values[1], 4) << "the next pixel's slope of the first channel";
}

TEST(Export, TheCommandWritesWhatARunHas) {
  lockstep::testing::TemporaryFolder folder;
  const std::string path = (folder.path() / "x").string();
  const auto lockstep = [](const std::string& arguments) {
    return run_command(binary_dir() + "/lockstep " + arguments);
  };
  ASSERT_EQ(lockstep("train --quiet --model lenet5 --resize 28 --batch 64 --steps 1 --out " + path).code, 0);
  const Network network = zoo_model("lenet5", {28, 28, 1}, 10);
  const Weights weights = read_weights(path + "/weights.safetensors", network);
  for (const auto& [name, format] : {std::pair{"torch", ExportFormat::torch}, {"keras", ExportFormat::keras}}) {
    const std::string file = path + "/" + name;
    const Outcome outcome = lockstep("export --run " + path + " --format " + name + " --output " + file);
    ASSERT_EQ(outcome.code, 0) << outcome.text;
    const auto read = read_file(file);
    const auto expected = export_weights(network, weights, format);
    EXPECT_EQ(read.size(), expected.size());
    for (const ExportedTensor& tensor : expected) {
      EXPECT_EQ(read[tensor.name]["values"].get<std::vector<float>>(), tensor.values) << tensor.name;
      const auto dims = tensor.shape.dims();
      EXPECT_EQ(read[tensor.name]["shape"].get<std::vector<int64_t>>(), std::vector<int64_t>(dims.begin(), dims.end()));
    }
  }
  const Outcome json = lockstep("export --run " + path + " --format json");
  EXPECT_EQ(json.text, network_to_json(network) + "\n");
  const auto prepared = nlohmann::json::parse(lockstep("export --run " + path + " --format preparation").text);
  EXPECT_EQ(prepared["channels"], 1);
  EXPECT_EQ(prepared["fits"],
            nlohmann::json::parse(R"([{"how": "stretch", "height": 28, "width": 28, "shorter": 0}])"));
  EXPECT_EQ(prepared["mean"].size(), 1U);
  EXPECT_TRUE(lockstep("export --format preparation").says("--run is missing"));
  EXPECT_TRUE(lockstep("export --run " + path).says("--output is missing"));
  EXPECT_TRUE(lockstep("export --run " + path + " --format pickle").says("unknown format 'pickle'"));
  EXPECT_TRUE(lockstep("export --model lenet5 --resize 28 --output x").says("--weights or --run is missing"));
}

}  // namespace
