// A static graph: nodes are operators, values have logical (global) shapes. Nothing is computed while building.
// A graph is built and read by one thread at a time.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/op.h"

namespace lockstep {

enum class Role : unsigned char {
  Activation,  // made by a node, lives inside a step
  LaneInput,   // written by the data feed, one a lane
  StepInput,   // written once a step, the same for all lanes
  Parameter,   // trained
  State,       // kept between steps but not trained (batch norm's running statistics)
  Slot,        // the optimizer's own variables
  Sum,         // summed over lanes and ranks by the canonical tree: gradients, loss, metrics, statistics
  Output,      // kept for the caller, one a lane
};

struct ValueInfo {
  std::string name;
  Type type;
  Role role = Role::Activation;
  int producer = -1;  // node index, -1 for what is fed from outside
  int index = 0;      // which output of the producer
  int primal = -1;    // the value whose gradient this is, where it is one
};

struct Node {
  std::string name;  // "conv1", "conv1/weight_grad"
  std::shared_ptr<const Op> op;
  std::vector<Value> in, out;
};

class Graph {
 public:
  /// A value that is fed from outside or kept between steps. Throws Error when the name exists.
  Value source(std::string name, Type type, Role role);
  /// Adds a node and infers its output types. An InputError from inference is rethrown with the node's name before it.
  std::vector<Value> add(std::string name, std::shared_ptr<const Op> op, std::vector<Value> in);
  /// The same for an operator with one output.
  Value add1(std::string name, std::shared_ptr<const Op> op, std::vector<Value> in);

  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<ValueInfo>& values() const { return values_; }
  const ValueInfo& info(Value value) const { return values_.at(static_cast<size_t>(value.id)); }
  const Type& type(Value value) const { return info(value).type; }
  void set_role(Value value, Role role) { values_.at(static_cast<size_t>(value.id)).role = role; }
  void set_primal(Value gradient, Value primal) { values_.at(static_cast<size_t>(gradient.id)).primal = primal.id; }
  /// Indices of the nodes that read the value.
  std::vector<int> readers(Value value) const;
  /// The source of that name, invalid where there is none.
  Value find(std::string_view name) const;

  /// The values alone, for a pass that puts the nodes back with `append`, some of its own between them.
  Graph without_nodes() const;
  /// Adds a node whose outputs are values of this graph already.
  void append(Node node);
  /// Makes `node` (index) another operator with other inputs and the same outputs; for the fuse pass.
  void replace(int node, std::shared_ptr<const Op> op, std::vector<Value> in);
  /// Lets every reader of `from` read `to` instead.
  void redirect(Value from, Value to);
  /// Removes nodes that lead to none of `keep`.
  void prune(std::span<const Value> keep);

 private:
  std::vector<Node> nodes_;
  std::vector<ValueInfo> values_;
};

}  // namespace lockstep
