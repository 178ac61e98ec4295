// The models that come along: published numbers of parameters, shapes on the way, and a training step of each.
#include <cmath>
#include <nlohmann/json.hpp>
#include <regex>

#include "layers/zoo/zoo.h"
#include "tests/launch/plan/model_parallel.h"
#include "tests/support/errors.h"
#include "tests/support/op_check.h"
#include "tests/support/source_files.h"

namespace lockstep::test {
namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Zoo, HasThePublishedNumbersOfParameters) {
  // torchvision's, docs.pytorch.org/vision/stable/models.html ("num_params"; googlenet without its auxiliary
  // classifiers).
  const Shape image{224, 224, 3};
  EXPECT_EQ(alexnet(image, 1000).parameters(), 61'100'840);
  EXPECT_EQ(vgg16(image, 1000).parameters(), 138'357'544);
  EXPECT_EQ(resnet34(image, 1000).parameters(), 21'797'672);
  EXPECT_EQ(resnet50(image, 1000).parameters(), 25'557'032);
  EXPECT_EQ(resnet101(image, 1000).parameters(), 44'549'160);
  EXPECT_EQ(googlenet(image, 1000).parameters(), 6'624'904);
  EXPECT_EQ(densenet121(image, 1000).parameters(), 7'978'856);
  EXPECT_EQ(mobilenet_v2(image, 1000).parameters(), 3'504'872);
  EXPECT_EQ(efficientnet_b0(image, 1000).parameters(), 5'288'548);
  // The paper's layers, as counted by Keras' and PyTorch's implementations of them.
  EXPECT_EQ(unet({256, 256, 1}, 1).parameters(), 31'030'593);
  // With the stem for CIFAR, as in many repositories.
  EXPECT_EQ(resnet18({32, 32, 3}, 10).parameters(), 11'173'962);
  EXPECT_EQ(lenet5({28, 28, 1}, 10).parameters(), 61'706);
  // 3*3*3*32+32 + 3*3*32*64+64 + 64*128+128 + 128*10+10
  EXPECT_EQ(seed_cnn(image, 10).parameters(), 896 + 18'496 + 8'320 + 1'290);
  EXPECT_TRUE(contains(error_of([] { zoo_model("resnet51", {8, 8, 1}, 10); }), "did you mean 'resnet50'"));
}

/// Columns are as wide as what is in them: one space for several.
std::string narrow(const std::string& text) { return std::regex_replace(text, std::regex(" +"), " "); }

void expect_lines(const Network& network, std::initializer_list<const char*> lines) {
  const std::string text = network.summary();
  for (const char* line : lines) EXPECT_TRUE(contains(narrow(text), narrow(line))) << line << "\n" << text;
}

TEST(Zoo, Resnet50StridesInTheThreeByThree) {
  expect_lines(resnet50({224, 224, 3}, 1000), {"stem_conv (Conv2D)                           (None, 112, 112, 64)",
                                               "stem_pool (MaxPooling2D)                     (None, 56, 56, 64)",
                                               "stage2_block1_1_conv (Conv2D)                (None, 56, 56, 128)",
                                               "stage2_block1_2_conv (Conv2D)                (None, 28, 28, 128)",
                                               "stage4_block3_add (Add)                      (None, 7, 7, 2048)"});
}

/// The output of a layer for one image, without the batch.
Shape output(const Network& network, const std::string& layer) {
  for (const NetworkLayer& entry : network.layers())
    if (entry.layer->name == layer) return entry.output;
  throw Error("no layer '{}'", layer);
}

TEST(Zoo, HalvesAsPyTorchDoes) {
  EXPECT_EQ(output(alexnet({224, 224, 3}, 10), "max_pooling2d_2"), (Shape{1, 6, 6, 256}));
  EXPECT_EQ(output(vgg16({224, 224, 3}, 10), "block5_pool"), (Shape{1, 7, 7, 512}));
  // With ceil_mode: 112, 56, 28, 14, 7; and of odd sizes, 225: 113, 56, 28, 14, 7.
  for (const int64_t size : {224, 225}) {
    const Network network = googlenet({size, size, 3}, 10);
    EXPECT_EQ(output(network, "stem_1_conv")[1], (size + 1) / 2);
    EXPECT_EQ(output(network, "stem_pool_1"), (Shape{1, 56, 56, 64}));
    EXPECT_EQ(output(network, "inception_3b"), (Shape{1, 28, 28, 480}));
    EXPECT_EQ(output(network, "inception_5b"), (Shape{1, 7, 7, 1024}));
  }
  const Network dense = densenet121({224, 224, 3}, 10);
  EXPECT_EQ(output(dense, "block1_layer6"), (Shape{1, 56, 56, 256}));
  EXPECT_EQ(output(dense, "transition3_pool"), (Shape{1, 7, 7, 512}));
  EXPECT_EQ(output(dense, "block4_layer16"), (Shape{1, 7, 7, 1024}));
  const Network mobile = mobilenet_v2({224, 224, 3}, 10);
  EXPECT_EQ(output(mobile, "block3_add"), (Shape{1, 56, 56, 24}));
  EXPECT_EQ(output(mobile, "block17_project_conv"), (Shape{1, 7, 7, 320}));
  const Network efficient = efficientnet_b0({224, 224, 3}, 10);
  EXPECT_EQ(output(efficient, "stage3_block2_add"), (Shape{1, 28, 28, 40}));
  EXPECT_EQ(output(efficient, "stage6_block1_se_squeeze"), (Shape{1, 1, 1, 28}));
  EXPECT_EQ(output(efficient, "stage7_block1_project_conv"), (Shape{1, 7, 7, 320}));
  const Network segments = unet({48, 32, 1}, 2);
  EXPECT_EQ(output(segments, "bottom_conv2"), (Shape{1, 3, 2, 1024}));
  EXPECT_EQ(output(segments, "up1"), (Shape{1, 48, 32, 128}));
  EXPECT_EQ(segments.output_shape(), (Shape{48, 32, 2}));
  EXPECT_EQ(error_of([] {
              unet({40, 32, 1}, 2);
            }),
            "unet takes images whose sides are multiples of 16, got [40, 32, 1]");
}

TEST(Zoo, PadsStridedWindowsAlikeOnBothSides) {
  const Built built = resnet50({64, 64, 3}, 10).build(2, 1, true);
  int strided = 0;
  for (const Node& node : built.graph.nodes())
    if (const auto* op = dynamic_cast<const Conv2dOp*>(node.op.get()); op && op->conv.stride == Size2{2, 2}) {
      EXPECT_EQ(op->conv.pad_before, op->conv.pad_after) << node.name;
      ++strided;
    }
  EXPECT_EQ(strided, 1 + 2 * 3);
}

/// The formulas of make_zoo.py.
Buffer golden_weights(const Variable& variable, size_t number) {
  Buffer values{Type{variable.shape}};
  const bool vector = variable.shape.rank() == 1;
  const bool scale = variable.name.ends_with("gamma") || variable.name.ends_with("variance");
  const double fan = static_cast<double>(variable.shape.elements()) / static_cast<double>(variable.shape[0]);
  for (size_t i = 0; i < values.as().size(); ++i) {
    const double wave = std::sin(0.7 * static_cast<double>(i) + static_cast<double>(number));
    values[i] = static_cast<float>(scale ? 1 + 0.1 * wave : vector ? 0.1 * wave : wave * std::sqrt(2 / fan));
  }
  return values;
}

TEST(Zoo, WithTorchvisionsWeightsGivesItsOutputs) {
  const auto golden = golden_json("zoo.json");
  for (const char* name : {"resnet50", "mobilenet_v2", "googlenet", "densenet121", "efficientnet_b0"}) {
    const auto size = golden[name]["size"].get<int64_t>();
    const auto wanted = golden[name]["output"].get<std::vector<double>>();
    const Network network = zoo_model(name, {size, size, 3}, 10);
    const Built built = network.build(1, 1, false);
    std::map<int, Buffer> values;
    Buffer& image = values[built.input.id] = Buffer{Type{{1, size, size, 3}}};
    for (size_t i = 0; i < image.as().size(); ++i)
      image[i] = static_cast<float>(std::sin(0.37 * static_cast<double>(i)));
    size_t number = 0;
    for (const Variable& variable : network.variables())
      values[built.graph.find(variable.name).id] = golden_weights(variable, number++);
    run_graph(built.graph, values);
    // Single precision through up to 120 layers; windows that lie a pixel further change the second digit.
    EXPECT_TRUE(close(values.at(built.output.id), wanted, 5e-6)) << name;
  }
}

/// Trains a step on tiny images: everything that is computed is finite, and every parameter moves.
void expect_training(const Network& network) {
  const auto comms = make_local(1);
  const SGD optimizer{.lr = 0.05F, .momentum = 0.9F};
  const Trained trained = train_by(network, {.batch = 2, .lanes = 1}, 1, *comms[0], BackendChoice::cpu, optimizer);
  EXPECT_TRUE(std::isfinite(trained.losses[0])) << network.name();
  for (const auto& [name, gradients] : trained.gradients) {
    double sum = 0;
    for (const float x : gradients) sum += std::abs(double{x});
    EXPECT_TRUE(std::isfinite(sum) && sum > 0) << network.name() << " " << name << " " << sum;
  }
}

TEST(Zoo, TrainsOnTinyImages) {
  expect_training(resnet34({33, 40, 3}, 10));
  expect_training(googlenet({48, 48, 3}, 10));
  expect_training(densenet121({48, 40, 3}, 10));
  expect_training(mobilenet_v2({33, 40, 3}, 10));
  expect_training(efficientnet_b0({33, 40, 3}, 10));
}

}  // namespace
}  // namespace lockstep::test
