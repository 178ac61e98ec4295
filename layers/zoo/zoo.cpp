#include "layers/zoo/zoo.h"

#include <functional>
#include <map>

#include "core/error.h"

namespace lockstep {

namespace {

using Make = std::function<Network(const Shape&, int64_t)>;

const std::map<std::string, Make>& models() {
  static const std::map<std::string, Make> all{
      {"alexnet", alexnet},     {"densenet121", densenet121}, {"efficientnet_b0", efficientnet_b0},
      {"googlenet", googlenet}, {"lenet5", lenet5},           {"mobilenet_v2", mobilenet_v2},
      {"resnet18", resnet18},   {"resnet34", resnet34},       {"resnet50", resnet50},
      {"resnet101", resnet101}, {"seed_cnn", seed_cnn},       {"unet", unet},
      {"vgg16", vgg16}};
  return all;
}

}  // namespace

std::vector<std::string> zoo_names() {
  std::vector<std::string> names;
  for (const auto& [name, make] : models()) names.push_back(name);
  return names;
}

Network zoo_model(const std::string& name, const Shape& image, int64_t classes) {
  const auto found = models().find(name);
  if (found == models().end()) throw unknown("model", name, zoo_names());
  return found->second(image, classes);
}

}  // namespace lockstep
