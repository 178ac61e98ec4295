// What an operator's author writes, beside one kernel per backend: types, placement rules and the backward graph.
// Operators are immutable and shared between ranks; every method may be called from any thread.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/graph/placement.h"
#include "core/tensor.h"

namespace lockstep {

class Graph;
struct Node;

/// Names one value of a Graph.
struct Value {
  int id = -1;
  explicit operator bool() const { return id >= 0; }
  auto operator<=>(const Value&) const = default;
};

/// The local types that a kernel is made for.
struct Signature {
  std::vector<Type> in, out;
};

/// Whether output 0 may, or must, lie where input 0 lies.
enum class Reuse : unsigned char {
  none,
  in_place,  // the kernel is correct with out[0].data == in[0].data
  view,      // the output is the same bytes under another shape; the kernel does nothing
};

/// The stream that a node's work is enqueued to.
enum class Queue : unsigned char {
  compute,
  side,      // a collective: once a step, beside the kernels
  forward,   // from stage to stage of a pipeline, beside the kernels: activations
  backward,  // the same: gradients
  exchange,  // between ranks that share a lane, beside the kernels
};
inline constexpr size_t queue_count = 5;

class Op {
 public:
  virtual ~Op() = default;

  /// The operator's name in plans and errors, e.g. "conv2d".
  virtual std::string_view name() const = 0;
  /// Types of the outputs. Throws InputError that names what was given and expected; the graph adds the node's name.
  virtual std::vector<Type> infer(std::span<const Type> in) const = 0;
  /// Placement rules along one mesh axis, best first. "Everything replicated" holds for every operator; leave it out.
  virtual std::vector<Rule> rules() const = 0;
  /// What output (or, where the outputs are the windows, input) elements `seen` of dimension `dim` need of the windowed
  /// side, which has `size` elements there: for rules with Window or Overlap.
  virtual Interval needs(int dim, Interval seen, int64_t size) const;
  /// One member's part of the work.
  struct Part {
    const Rule& rule;
    int64_t member = 0, members = 1;
    /// Its interval of the dimension that each input and output is cut along; empty where it is not cut.
    std::vector<Interval> in, out;
  };
  /// The operator that computes it, where that is not this operator unchanged, and the inputs at the end that it does
  /// without. Throws InputError where the work cannot be cut so.
  struct Local {
    std::shared_ptr<const Op> op;  // null: unchanged
    size_t without = 0;
  };
  virtual Local local(const Part& part) const {
    static_cast<void>(part);
    return {};
  }
  /// Whether it moves a value and changes nothing: then the placements say what its local types are, not `infer`.
  virtual bool moves() const { return false; }
  /// Adds the nodes that compute the gradient of each input from `dy`, the gradient of each output (an invalid Value
  /// where an output is not used by the loss). Returns one Value per input, invalid where there is no gradient.
  /// A loss is called with no dy at all: its own gradient is 1.
  virtual std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const;
  virtual Reuse reuse() const { return Reuse::none; }
  /// Where input 0, of this local type, may lie inside output 0: a byte offset, with which the kernel then finds it in
  /// place. None where it may not.
  virtual std::optional<size_t> surrounds(const Type& in, const Type& out) const {
    static_cast<void>(in), static_cast<void>(out);
    return std::nullopt;
  }
  /// What is on the side stream runs once a step, when the last lane has made its inputs.
  virtual Queue queue() const { return Queue::compute; }
  bool collective() const { return queue() == Queue::side; }
  /// "3x3 stride 2x2 same +relu": the attributes, for plans; empty where there are none.
  virtual std::string attributes() const { return {}; }

  /// Floating-point operations of one run on these types; 0 where memory is what bounds it.
  virtual double flops(const Signature& signature) const {
    static_cast<void>(signature);
    return 0;
  }
  /// Bytes that one run reads and writes: each input and each output once.
  virtual double bytes(const Signature& signature) const;
};

/// Floating-point operations of a convolution, a product of matrices or one of their gradients: two for each
/// multiply-add, and each weight is used once for each pixel of `output`, or each row.
double product_flops(const Type& weights, const Type& output);

/// Whether it moves something to or from another stage while other lanes go on.
inline bool leaves(const Op& op) { return op.queue() == Queue::forward || op.queue() == Queue::backward; }

}  // namespace lockstep
