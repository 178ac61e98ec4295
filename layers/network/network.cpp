#include "layers/network/network.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <set>

#include "core/error.h"

namespace lockstep {

Value Input::build(Builder& builder, std::span<const Value> in) const {
  if (!in.empty()) throw InputError("an Input takes no input");
  for (const char* own : {"labels", "lane_state", "step_state", "loss_scale"})
    if (name == own) throw InputError("an Input cannot have this name, which the training step uses");
  std::vector<int64_t> dims{builder.batch()};
  for (int64_t dim : shape) {
    if (dim < 1) throw InputError("shape [{}] has a dimension below 1", fmt::join(shape, ", "));
    dims.push_back(dim);
  }
  if (shape.empty()) throw InputError("expected a shape such as [28, 28, 1], none was given");
  if (dims.size() > Shape::max_rank)
    throw InputError("shape [{}] has {} dimensions, expected at most {}", fmt::join(shape, ", "), shape.size(),
                     Shape::max_rank - 1);
  return builder.source("", {Shape(dims), DType::f32}, Role::lane_input);
}

namespace {

/// Every complaint about a layer begins with where it was written and its name.
Value build_layer(const Layer& layer, const std::string& where, Builder& builder, std::span<const Value> in) {
  try {
    return layer.build(builder, in);
  } catch (const InputError& error) {
    const std::string text = error.what();
    const std::string place = where.empty() ? "" : where + ": ";
    if (text.starts_with("layer '")) throw InputError("{}{}", place, text);
    throw InputError("{}layer '{}': {}", place, layer.name, text);
  }
}

}  // namespace

Network::Network(std::string name, const Symbol& output) : name_(std::move(name)) {
  std::map<const LayerNode*, int> index;
  std::vector<std::string> written;  // where, by layer
  const std::function<int(const Symbol&)> visit = [&](const Symbol& symbol) {
    if (!symbol.node) throw InputError("model '{}': a layer was called with an empty input", name_);
    if (const auto known = index.find(symbol.node.get()); known != index.end()) return known->second;
    std::vector<int> inputs;
    for (const Symbol& input : symbol.node->inputs) inputs.push_back(visit(input));
    layers_.push_back({symbol.node->layer->clone(), std::move(inputs), {}, 0, 0});
    written.push_back(symbol.node->where);
    return index[symbol.node.get()] = static_cast<int>(layers_.size()) - 1;
  };
  visit(output);

  std::set<std::string> names;
  for (const auto& [layer, inputs, shape, parameters, states] : layers_)
    if (!layer->name.empty() && !names.insert(layer->name).second)
      throw InputError("model '{}': two layers are named '{}'", name_, layer->name);
  for (auto& [layer, inputs, shape, parameters, states] : layers_) {
    std::string numbered(layer->base_name());
    for (int k = 0; layer->name.empty(); numbered = fmt::format("{}_{}", layer->base_name(), ++k))
      if (names.insert(numbered).second) layer->name = numbered;
  }
  const auto inputs = std::ranges::count_if(layers_, [](const NetworkLayer& l) { return l.layer->type() == "Input"; });
  if (inputs != 1) throw InputError("model '{}' has {} Input layers, expected exactly 1", name_, inputs);

  Graph graph;
  Builder builder(graph, 1, 1, true);
  std::vector<Value> values;
  for (size_t i = 0; i < layers_.size(); ++i) {
    auto& [layer, sources, shape, parameters, states] = layers_[i];
    const size_t before = builder.variables().size();
    builder.enter(layer->name, static_cast<uint32_t>(i));
    std::vector<Value> in;
    for (int source : sources) in.push_back(values[static_cast<size_t>(source)]);
    values.push_back(build_layer(*layer, written[i], builder, in));
    shape = graph.type(values.back()).shape;
    for (size_t v = before; v < builder.variables().size(); ++v) {
      const Variable& variable = builder.variables()[v];
      (variable.trainable ? parameters : states) += variable.shape.elements();
    }
  }
  variables_ = builder.variables();
}

Shape Network::input_shape() const {
  const auto input = std::ranges::find(layers_, "Input", [](const NetworkLayer& l) { return l.layer->type(); });
  return Shape(input->output.dims().subspan(1));
}

Shape Network::output_shape() const { return Shape(layers_.back().output.dims().subspan(1)); }

int64_t Network::parameters() const {
  return std::accumulate(layers_.begin(), layers_.end(), int64_t{0},
                         [](int64_t sum, const NetworkLayer& l) { return sum + l.parameters; });
}

std::vector<std::string> Network::layer_names() const {
  std::vector<std::string> names;
  for (const NetworkLayer& one : layers_) names.push_back(one.layer->name);
  return names;
}

Built Network::build(int64_t batch, int64_t lanes, bool training, DType compute) const {
  Built built;
  Builder builder(built.graph, batch, lanes, training, compute);
  std::vector<Value> values;
  for (size_t i = 0; i < layers_.size(); ++i) {
    builder.enter(layers_[i].layer->name, static_cast<uint32_t>(i));
    std::vector<Value> in;
    for (int source : layers_[i].inputs) in.push_back(values[static_cast<size_t>(source)]);
    values.push_back(layers_[i].layer->build(builder, in));
    if (layers_[i].layer->type() != "Input") continue;
    built.input = values.back();
    values.back() = builder.to_compute_type(built.input);
  }
  built.output = values.back();
  built.tracked = builder.tracked();
  return built;
}

}  // namespace lockstep
