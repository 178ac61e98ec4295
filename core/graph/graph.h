// A static graph: nodes are operators, values have logical (global) shapes. Nothing is computed while building.
// A graph is built and read by one thread at a time.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/graph/op.h"

namespace lockstep {

enum class Role : unsigned char {
  activation,  // made by a node, lives inside a step
  lane_input,  // written by the data feed, one a lane
  step_input,  // written once a step, the same for all lanes
  parameter,   // trained
  state,       // kept between steps but not trained (batch norm's running statistics)
  slot,        // the optimizer's own variables
  sum,         // summed over lanes and ranks by the canonical tree: gradients, loss, metrics, statistics
  output,      // kept for the caller, one a lane
};

struct ValueInfo {
  std::string name;
  Type type;
  Role role = Role::activation;
  int producer = -1;  // node index, -1 for what is fed from outside
  int index = 0;      // which output of the producer
  Value primal = {};  // the value whose gradient this is, where it is one
};

/// The parts of a step. Of a pipeline, a rank may run a later lane's forward part before an earlier one's backward.
enum class Phase : unsigned char { forward, backward, after_lanes };

/// Where in a step, and on which stage of a pipeline, a node runs.
struct Section {
  int stage = 0;
  Phase phase = Phase::forward;
};

struct Node {
  std::string name;  // "conv1", "conv1/weight_grad"
  std::shared_ptr<const Op> op;
  std::vector<Value> in, out;
  Section section = {};
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
  const Node& node(int index) const { return nodes_.at(static_cast<size_t>(index)); }
  bool has_node(int index) const { return index >= 0 && static_cast<size_t>(index) < nodes_.size(); }
  /// Whether it is one of this graph: for (Value v{0}; graph.has(v); ++v.id) …
  bool has(Value value) const { return value.id >= 0 && static_cast<size_t>(value.id) < values_.size(); }
  const ValueInfo& info(Value value) const { return values_.at(static_cast<size_t>(value.id)); }
  const Type& type(Value value) const { return info(value).type; }
  void set_role(Value value, Role role) { values_.at(static_cast<size_t>(value.id)).role = role; }
  void set_primal(Value gradient, Value primal) { values_.at(static_cast<size_t>(gradient.id)).primal = primal; }
  /// The section of the nodes that `add` adds from now on, and of one that is there.
  Section section() const { return section_; }
  void set_section(Section section) { section_ = section; }
  void set_stage(int node, int stage) { nodes_.at(static_cast<size_t>(node)).section.stage = stage; }
  /// The stage that makes the value; `otherwise` where it comes from outside.
  int stage_of(Value value, int otherwise) const;
  /// Indices of the nodes that read the value.
  std::vector<int> readers(Value value) const;
  /// The source of that name, invalid where there is none.
  Value find(std::string_view name) const;

  /// The values alone, made by nobody, for a pass that puts nodes back with `append`, some of its own between them.
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
  Section section_;
};

}  // namespace lockstep
