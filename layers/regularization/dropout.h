// Dropout: the operator, which is its own gradient, and the Keras-style layer. Immutable: any thread.
#pragma once

#include <array>

#include "layers/base/layer.h"

namespace lockstep {

/// Where the elements of a part of a sample lie in the whole one, one after the other: `rows` times `columns` runs of
/// `length` elements. Of a part that is not cut, or cut along the outermost dimension only, there is one run.
struct SampleRuns {
  int64_t rows = 1, columns = 1, length = 0;
  int64_t row_pitch = 0, column_pitch = 0;  // from one to the next in the whole sample
  int64_t first = 0;

  int64_t runs() const { return rows * columns; }
  /// In the whole sample.
  int64_t start(int64_t run) const { return first + run / columns * row_pitch + run % columns * column_pitch; }
  /// Of the whole sample's pieces of `size` elements, how many a run meets at most; of one run, exactly.
  int64_t pieces(int64_t size) const {
    const bool alike = row_pitch % size == 0 && column_pitch % size == 0;
    return ((alike ? first % size : size - 1) + length + size - 1) / size;
  }
};

/// Srivastava et al., "Dropout", JMLR 2014, scaled while training: y = x / (1 - rate) where the element is kept, else
/// 0. Inputs: x [N, …], step_state, lane_state. Element e of the lane's sample n is kept where
///   to_uniform(Random(seed, Purpose::dropout, layer, step).bits(lane.first + n, e / 4)[e % 4]) >= rate,
/// so the mask does not depend on lanes, ranks or threads. Where x is a part of the samples, e counts in the whole
/// ones.
class DropoutOp final : public Op {
 public:
  /// Of dimensions 1, 2 and 3: those that can be cut.
  using Corner = std::array<int64_t, 3>;

  /// `layer` is the layer's place in the network: each has a mask of its own. `whole` is [N, …] of whole samples, where
  /// x begins at `corner`. Throws InputError unless 0 <= rate < 1.
  DropoutOp(float rate, uint32_t layer, Shape whole, Corner corner = {});
  std::string_view name() const override { return "dropout"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Local local(const Part& part) const override;
  /// The same operator on dy.
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  Reuse reuse() const override { return Reuse::in_place; }
  std::string attributes() const override;

  /// Of an input of this shape.
  SampleRuns runs(const Shape& x) const;

  const float rate;
  const uint32_t layer;
  const Shape whole;
  const Corner corner;
};

/// Drops while training; nothing at all otherwise.
class Dropout final : public LayerOf<Dropout> {
 public:
  Dropout() = default;
  explicit Dropout(float rate) : rate(rate) {}
  std::string_view type() const override { return "Dropout"; }
  std::string_view base_name() const override { return "dropout"; }
  void describe(Fields& fields) override;
  /// Throws InputError unless 0 <= rate < 1.
  Value build(Builder& builder, std::span<const Value> in) const override;

  float rate = 0.5F;
};

}  // namespace lockstep
