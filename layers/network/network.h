// A network: layers and how they are connected, without weights and without a batch size. Keras' functional and
// sequential forms. Immutable once made: ranks share it.
#pragma once

#include <filesystem>
#include <map>

#include "layers/base/layer.h"

namespace lockstep {

/// A layer's place in a network.
struct NetworkLayer {
  std::shared_ptr<Layer> layer;        // named
  std::vector<int> inputs;             // indices of layers before this one
  Shape output;                        // [1, …]: shape for a batch of one
  int64_t parameters = 0, states = 0;  // numbers of values, trained and not
};

/// One graph made from a network.
struct Built {
  Graph graph;
  Value input, output;
  std::vector<Builder::Tracked> tracked;
};

class Network {
 public:
  /// The layers that `output` depends on. Numbers unnamed layers as Keras does, infers all shapes.
  /// Throws InputError with the layer's name and the shapes where a layer cannot take its input, where two layers have
  /// one name, or where there is not exactly one Input.
  Network(std::string name, const Symbol& output);

  const std::string& name() const { return name_; }
  const std::vector<NetworkLayer>& layers() const { return layers_; }
  std::vector<std::string> layer_names() const;
  /// In the order of the layers; names are "<layer>/<variable>".
  const std::vector<Variable>& variables() const { return variables_; }
  /// [H, W, C] of one sample, and [..] of one prediction.
  Shape input_shape() const;
  Shape output_shape() const;
  int64_t parameters() const;

  /// The forward graph for a global batch cut into lanes, with activations of the type `compute` between the images and
  /// what a softmax takes, which are f32.
  Built build(int64_t batch, int64_t lanes, bool training, DType compute = DType::f32) const;
  /// Keras' table: layer, output shape, parameters, and what it is connected to where that is not the line above.
  std::string summary() const;

 private:
  std::string name_;
  std::vector<NetworkLayer> layers_;
  std::vector<Variable> variables_;
};

/// The symbolic input of [H, W, C] (or [F]) samples.
class Input final : public LayerOf<Input> {
 public:
  Input() = default;
  explicit Input(std::vector<int64_t> shape) : shape(std::move(shape)) {}
  std::string_view type() const override { return "Input"; }
  std::string_view base_name() const override { return "input"; }
  void describe(Fields& fields) override { fields.field("shape", shape, true); }
  Value build(Builder& builder, std::span<const Value> in) const override;
  /// An Input needs no call: it is where a network starts.
  operator Symbol() const { return (*this)(std::vector<Symbol>{}); }  // NOLINT: implicit on purpose

  std::vector<int64_t> shape;
};

/// Layers one after the other, the first of them an Input.
class Sequential {
 public:
  explicit Sequential(std::string name = "sequential") : name_(std::move(name)) {}
  template <class... Layers>
  explicit Sequential(std::string name, const Layers&... layers) : name_(std::move(name)) {
    (add(layers), ...);
  }
  template <class LayerClass>
  void add(const LayerClass& layer) {
    output_ = output_.node ? layer(output_) : layer(std::vector<Symbol>{});
  }
  operator Network() const { return Network(name_, output_); }  // NOLINT: implicit on purpose

 private:
  std::string name_;
  Symbol output_;
};

/// A network as JSON, and back. `where` is the file's name, for errors, which give the line and the key.
Network network_from_json(const std::string& text, const std::string& where);
Network read_network(const std::filesystem::path& path);
std::string network_to_json(const Network& network);

}  // namespace lockstep
