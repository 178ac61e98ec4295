// What a layer is: options that can be written and read by name, and how it adds itself to a graph. The Keras-style
// classes (Conv2D, Dense, …) derive from Layer; a layer object holds options only, never weights.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/graph/graph.h"
#include "layers/base/builder.h"
#include "layers/base/fields.h"

namespace lockstep {

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
