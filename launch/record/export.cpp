#include "launch/record/export.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "layers/normalization/group_norm.h"

namespace lockstep {

namespace {

/// Values of `shape` with its dimensions in another order: dimension i of the result is dimension `order[i]`.
ExportedTensor permuted(const std::vector<float>& values, const Shape& shape, const std::vector<size_t>& order) {
  std::vector<int64_t> dims, strides(order.size(), 1), at(order.size(), 0);
  for (size_t i = order.size() - 1; i > 0; --i) strides[i - 1] = strides[i] * shape[static_cast<int>(i)];
  for (const size_t from : order) dims.push_back(shape[static_cast<int>(from)]);
  ExportedTensor result{"", Shape(std::span<const int64_t>(dims)), {}};
  result.values.reserve(values.size());
  for (size_t n = 0; n < values.size(); ++n) {
    int64_t offset = 0;
    for (size_t i = 0; i < order.size(); ++i) offset += at[i] * strides[order[i]];
    result.values.push_back(values[static_cast<size_t>(offset)]);
    for (size_t i = order.size(); i-- > 0 && ++at[i] == dims[i];) at[i] = 0;
  }
  return result;
}

std::string layer_of(const std::string& variable) { return variable.substr(0, variable.rfind('/')); }
std::string suffix_of(const std::string& variable) { return variable.substr(variable.rfind('/') + 1); }

std::string torch_name(const std::string& variable, bool separable) {
  static const std::vector<std::pair<std::string, std::string>> words{{"kernel", "weight"},
                                                                      {"gamma", "weight"},
                                                                      {"alpha", "weight"},
                                                                      {"beta", "bias"},
                                                                      {"moving_mean", "running_mean"},
                                                                      {"moving_variance", "running_var"},
                                                                      {"depthwise_kernel", "depthwise.weight"},
                                                                      {"pointwise_kernel", "pointwise.weight"}};
  std::string suffix = suffix_of(variable);
  if (separable && suffix == "bias") suffix = "pointwise.bias";
  const auto found = std::ranges::find(words, suffix, &std::pair<std::string, std::string>::first);
  std::string layer = layer_of(variable);
  std::ranges::replace(layer, '/', '.');
  return layer + "." + (found == words.end() ? suffix : found->second);
}

/// Whether the layer computes something else where its features come in another order.
bool tells_features_apart(const NetworkLayer& layer) {
  const auto* norm = dynamic_cast<const GroupNormalization*>(layer.layer.get());
  return norm && norm->groups != 1 && norm->groups != -1 && norm->groups != layer.output[-1];
}

/// For each layer, the [H, W, C] of the image whose flattened values are its output's features; empty for others.
class Flattened {
 public:
  explicit Flattened(const Network& network) : network_(network) {
    for (const NetworkLayer& layer : network.layers()) images_.push_back(image_before(layer));
  }

  /// Of the features that the layer takes.
  const Shape& taken_by(const NetworkLayer& layer) const {
    return layer.inputs.empty() ? none_ : images_[static_cast<size_t>(layer.inputs[0])];
  }

 private:
  Shape image_before(const NetworkLayer& layer) const {
    if (layer.inputs.empty()) return {};
    const Shape& input = network_.layers()[static_cast<size_t>(layer.inputs[0])].output;
    const bool image = input.rank() == 4 && input[1] * input[2] > 1;
    const bool reshapes = layer.layer->type() == "Reshape";
    if (layer.layer->type() == "Flatten" || (reshapes && layer.output.rank() == 2 && input.rank() == 4))
      return image ? Shape{input[1], input[2], input[3]} : Shape{};
    const bool turns = reshapes && image && input[3] > 1 && layer.output != input;
    const Shape& image_taken = taken_by(layer);
    const auto alike = [&](int from) { return images_[static_cast<size_t>(from)] == image_taken; };
    if (!turns && image_taken.rank() == 0 && std::ranges::all_of(layer.inputs, alike)) return {};
    if (layer.layer->type() == "Dense") return {};
    if (turns || layer.output != input || !std::ranges::all_of(layer.inputs, alike) || tells_features_apart(layer))
      throw InputError(
          "layer '{}' ({}) mixes the features of a flattened image, which PyTorch orders otherwise: expected a Dense "
          "layer after Flatten, or the format keras",
          layer.layer->name, layer.layer->type());
    return image_taken;
  }

  const Network& network_;
  std::vector<Shape> images_;
  Shape none_{};
};

ExportedTensor for_torch(const Variable& variable, const std::vector<float>& values, const NetworkLayer& layer,
                         const Shape& image) {
  const Shape& shape = variable.shape;
  if (shape.rank() == 4) return permuted(values, shape, {0, 3, 1, 2});
  // A slope a channel, as nn.PReLU has them; where pixels have their own, channels come first.
  if (shape.rank() == 3 && shape.elements() == shape[-1]) return {"", {shape[-1]}, values};
  if (shape.rank() == 3) return permuted(values, shape, {2, 0, 1});
  // What meets the features themselves: a dense kernel's columns, and a normalisation's vectors, but no bias.
  const bool dense = layer.layer->type() == "Dense";
  if (image.rank() == 3 && dense == (shape.rank() == 2)) {
    const int64_t rows = dense ? shape[0] : 1;
    ExportedTensor result = permuted(values, {rows, image[0], image[1], image[2]}, {0, 3, 1, 2});
    result.shape = shape;
    return result;
  }
  return {"", shape, values};
}

ExportedTensor for_keras(const Variable& variable, const std::vector<float>& values, const NetworkLayer& layer,
                         const Shape& input) {
  const Shape& shape = variable.shape;
  const std::string suffix = suffix_of(variable.name);
  if (shape.rank() == 2 && suffix == "kernel") return permuted(values, shape, {1, 0});
  if (shape.rank() != 4) return {"", shape, values};
  if (layer.layer->type() != "DepthwiseConv2D" && suffix != "depthwise_kernel")
    return permuted(values, shape, {1, 2, 3, 0});
  ExportedTensor result = permuted(values, shape, {1, 2, 0, 3});
  result.shape = {shape[1], shape[2], input[3], shape[0] / input[3]};
  return result;
}

}  // namespace

const std::vector<std::string>& export_format_names() {
  static const std::vector<std::string> names{"torch", "keras"};
  return names;
}

ExportFormat export_format_from_name(const std::string& name) {
  return static_cast<ExportFormat>(index_of("format", name, export_format_names()));
}

std::vector<ExportedTensor> export_weights(const Network& network, const Weights& weights, ExportFormat format) {
  const bool torch = format == ExportFormat::torch;
  std::map<std::string, const NetworkLayer*> layers;
  for (const NetworkLayer& layer : network.layers()) layers[layer.layer->name] = &layer;
  const std::optional<Flattened> flattened = torch ? std::optional<Flattened>(network) : std::nullopt;
  std::vector<ExportedTensor> exported;
  for (const Variable& variable : network.variables()) {
    const NetworkLayer& layer = *layers.at(layer_of(variable.name));
    const auto& values = weights.at(variable.name);
    const Shape& input = network.layers()[static_cast<size_t>(layer.inputs.at(0))].output;
    exported.push_back(torch ? for_torch(variable, values, layer, flattened->taken_by(layer))
                             : for_keras(variable, values, layer, input));
    exported.back().name = torch ? torch_name(variable.name, layer.layer->type() == "SeparableConv2D") : variable.name;
  }
  return exported;
}

}  // namespace lockstep
