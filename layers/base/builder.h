// How a layer adds itself to a graph: nodes, and variables with their first values.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/graph/graph.h"
#include "layers/base/fields.h"
#include "layers/base/initializer.h"
#include "layers/base/regularizer.h"

namespace lockstep {

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
  /// "<layer>/softmax" after `x`, in f32: after a "<layer>/cast" where x is not. `suffix` as in `add`.
  Value softmax(std::string_view suffix, Value x);
  /// "<layer>/relu", named as the activation is, after `x`; `x` itself for linear.
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

}  // namespace lockstep
