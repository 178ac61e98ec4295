#include <fmt/format.h>

#include <algorithm>

#include "layers/network/network.h"

namespace lockstep {

namespace {

/// "1,234,567"
std::string grouped(int64_t number) {
  std::string digits = fmt::format("{}", number);
  for (auto at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3) digits.insert(static_cast<size_t>(at), 1, ',');
  return digits;
}

/// "(None, 28, 28, 32)": Keras' way of saying any batch size.
std::string shape_text(const Shape& shape) {
  std::string text = "(None";
  for (int i = 1; i < shape.rank(); ++i) text += fmt::format(", {}", shape[i]);
  return text + ")";
}

}  // namespace

std::string Network::summary() const {
  const auto title = [](const NetworkLayer& entry) {
    return fmt::format("{} ({})", entry.layer->name, entry.layer->type());
  };
  size_t first = 44, second = 24;
  for (const NetworkLayer& entry : layers_) {
    first = std::max(first, title(entry).size());
    second = std::max(second, shape_text(entry.output).size());
  }
  const std::string rule(first + second + 34, '-');
  std::string text = fmt::format("Model: \"{}\"\n{}\n{:<{}} {:<{}}{:>12}  {}\n{}\n", name_, rule, "Layer (type)", first,
                                 "Output shape", second, "Param #", "Connected to", rule);
  int64_t trained = 0;
  int64_t kept = 0;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const NetworkLayer& entry = layers_[i];
    std::string connected;
    const bool follows = entry.inputs.size() == 1 && entry.inputs[0] == static_cast<int>(i) - 1;
    if (!follows)
      for (int input : entry.inputs)
        connected += (connected.empty() ? "" : ", ") + layers_[static_cast<size_t>(input)].layer->name;
    text += fmt::format("{:<{}} {:<{}}{:>12}{}\n", title(entry), first, shape_text(entry.output), second,
                        grouped(entry.parameters + entry.states), connected.empty() ? "" : "  " + connected);
    trained += entry.parameters;
    kept += entry.states;
  }
  return text + fmt::format("{}\nTotal params: {}\nTrainable params: {}\nNon-trainable params: {}\n", rule,
                            grouped(trained + kept), grouped(trained), grouped(kept));
}

}  // namespace lockstep
