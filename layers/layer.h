// What a layer is: options that can be written and read by name, and how it adds itself to a graph. The Keras-style
// classes (Conv2D, Dense, …) derive from Layer; a layer object holds options only, never weights.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/graph.h"
#include "layers/initializer.h"
#include "layers/padding.h"
#include "layers/regularizer.h"

namespace lockstep {

enum class Interpolation : unsigned char { nearest, bilinear };
/// What a layer ends in, with Keras' names and parameters: gelu is the exact one, elu has alpha 1, leaky_relu has slope
/// 0.2 (the layer LeakyReLU: 0.3).
enum class Activation : unsigned char {
  linear,
  relu,
  softmax,
  sigmoid,
  tanh,
  silu,
  gelu,
  elu,
  leaky_relu,
  relu6,
  hard_sigmoid,
  hard_silu,
  swish = silu,
  hard_swish = hard_silu,
};
/// "leaky_relu".
std::string_view name_of(Activation activation);

/// Visits a layer's options: writes them to JSON, reads them from it, or lists them. Implemented in network_json.cpp.
class Fields {
 public:
  virtual ~Fields() = default;
  /// `required` options have no default: reading fails where they are missing.
  virtual void field(std::string_view key, int64_t& value, bool required = false) = 0;
  virtual void field(std::string_view key, Size2& value, bool required = false) = 0;
  virtual void field(std::string_view key, std::vector<int64_t>& value, bool required = false) = 0;
  virtual void field(std::string_view key, float& value, bool required = false) = 0;
  virtual void field(std::string_view key, bool& value, bool required = false) = 0;
  /// A number, or null for none.
  virtual void field(std::string_view key, std::optional<float>& value) = 0;
  virtual void field(std::string_view key, Regularizer& value) = 0;
  virtual void field(std::string_view key, Padding& value) = 0;
  void field(std::string_view key, Interpolation& value) { choice(key, value, {"nearest", "bilinear"}); }
  /// "swish" and "hard_swish" are read as well.
  void field(std::string_view key, Activation& value, bool required = false);

 protected:
  /// An index into `names`.
  virtual void choose(std::string_view key, int& index, std::span<const std::string> names, bool required) = 0;

 private:
  template <class Enum>
  void choice(std::string_view key, Enum& value, std::vector<std::string> names) {
    int index = static_cast<int>(value);
    choose(key, index, names, false);
    value = static_cast<Enum>(index);
  }
};

/// A trained or kept variable of a network.
struct Variable {
  std::string name;  // "conv1/kernel"
  Shape shape;
  Initializer initializer;
  bool trainable = true;
  Regularizer regularizer = {};
};

/// Handed to Layer::build: adds nodes and variables under the layer's name.
class Builder {
 public:
  Builder(Graph& graph, int64_t batch, int64_t lanes, bool training, DType compute = DType::f32)
      : graph_(graph), batch_(batch), lanes_(lanes), training_(training), compute_(compute) {}

  bool training() const { return training_; }
  /// Samples in the global batch.
  int64_t batch() const { return batch_; }
  const Type& type(Value value) const { return graph_.type(value); }
  const std::string& layer() const { return layer_; }
  /// The layer's place in the network, for Random.
  uint32_t layer_index() const { return layer_index_; }

  /// A trained parameter named "<layer>/<suffix>".
  Value parameter(std::string_view suffix, Shape shape, Initializer initializer, Regularizer regularizer = {});
  /// A variable that is kept, not trained.
  Value state(std::string_view suffix, Shape shape, float initial);
  /// A value fed from outside, named "<layer>" or "<layer>/<suffix>".
  Value source(std::string_view suffix, Type type, Role role);
  /// The StepState (u8[1, 32]) and the LaneState (u8[lanes, 16], sharded like the batch) of the step.
  Value step_state();
  Value lane_state();
  /// Adds a node named "<layer>", or "<layer>/<suffix>" where suffix is not empty.
  std::vector<Value> add(std::string_view suffix, std::shared_ptr<const Op> op, std::vector<Value> in);
  Value add1(std::string_view suffix, std::shared_ptr<const Op> op, std::vector<Value> in);
  /// The images as the network computes: "<layer>/cast" where that is in 16 bits, else `x` itself.
  Value to_compute_type(Value x) { return cast(x, compute_); }
  /// "<layer>/softmax" behind `x`, in f32: behind a "<layer>/cast" where x is not. `suffix` as in `add`.
  Value softmax(std::string_view suffix, Value x);
  /// "<layer>/relu", named as the activation is, behind `x`; `x` itself for linear.
  Value activate(Value x, Activation activation);
  /// At the end of each training step `mean` and `variance` follow those of the global batch, as MovingAverageOp does
  /// it; `moments` are of a lane (see moments.h), Partial over the lanes.
  void track(Value mean, Value variance, Value moments, float momentum);

  struct Tracked {
    Value mean, variance, moments;
    float momentum;
  };
  const std::vector<Tracked>& tracked() const { return tracked_; }
  const std::vector<Variable>& variables() const { return variables_; }

  void enter(std::string layer, uint32_t index);

 private:
  std::string full_name(std::string_view suffix) const;
  Value cast(Value x, DType to);

  Graph& graph_;
  int64_t batch_, lanes_;
  bool training_;
  DType compute_;
  std::string layer_;
  uint32_t layer_index_ = 0;
  std::vector<Variable> variables_;
  std::vector<Tracked> tracked_;
};

struct LayerNode;

/// The output of a layer call, before any graph exists.
struct Symbol {
  std::shared_ptr<const LayerNode> node;
};

class Layer {
 public:
  virtual ~Layer() = default;
  /// As in Keras and in JSON models: "Conv2D".
  virtual std::string_view type() const = 0;
  /// As Keras numbers unnamed layers: "conv2d".
  virtual std::string_view base_name() const = 0;
  /// Visits every option.
  virtual void describe(Fields& fields) = 0;
  virtual Value build(Builder& builder, std::span<const Value> in) const = 0;
  virtual std::shared_ptr<Layer> clone() const = 0;

  std::string name;  // empty until the network numbers it
};

/// One call of a layer on its inputs. Input layers have none.
struct LayerNode {
  std::shared_ptr<Layer> layer;
  std::vector<Symbol> inputs;
  std::string where;  // in a model file, for errors: "m.json:5: layers[2]"; empty in C++
};

/// Gives a layer class its calls: `Conv2D(32, {3,3})(x)`, `Add()({x, y})`, and `.named("stem")`. Each call is a layer
/// of its own, with weights of its own, also where one object is called twice.
template <class Derived>
class LayerOf : public Layer {
 public:
  Symbol operator()(const Symbol& x) const { return (*this)(std::vector<Symbol>{x}); }
  Symbol operator()(std::vector<Symbol> inputs) const {
    return {std::make_shared<const LayerNode>(LayerNode{clone(), std::move(inputs), {}})};
  }
  Derived named(std::string layer_name) const {
    Derived copy = static_cast<const Derived&>(*this);
    copy.name = std::move(layer_name);
    return copy;
  }
  std::shared_ptr<Layer> clone() const override {
    return std::make_shared<Derived>(static_cast<const Derived&>(*this));
  }
};

}  // namespace lockstep
