// PReLU: a leaky ReLU whose slopes are learned. Immutable: any thread.
#pragma once

#include "layers/base/layer.h"

namespace lockstep {

/// y = x where x > 0, else alpha x: He et al., "Delving deep into rectifiers", ICCV 2015, eq. 1. Inputs: x [N,…],
/// alpha f32, as a sample of x but with 1 for the first `shared` of its dimensions, along which it is the same.
class PreluOp final : public Op {
 public:
  /// `rank` is that of x.
  PreluOp(int rank, int shared) : rank(rank), shared(shared) {}
  std::string_view name() const override { return "prelu"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  Reuse reuse() const override { return Reuse::in_place; }
  std::string attributes() const override;

  const int rank, shared;
};

/// dx of x's type and dalpha, f32, from (x, alpha, dy): dalpha is a sum over the batch, so Partial where it is sharded.
class PreluGradOp final : public Op {
 public:
  PreluGradOp(int rank, int shared) : rank(rank), shared(shared) {}
  std::string_view name() const override { return "prelu_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;

  const int rank, shared;
};

/// Keras' PReLU. `shared_axes` count from 1; the first ones can be shared: {1, 2} gives one slope a channel of images.
/// Variable: alpha (zeros).
class PReLU final : public LayerOf<PReLU> {
 public:
  PReLU() = default;
  explicit PReLU(std::vector<int64_t> shared_axes, Regularizer alpha_regularizer = {})
      : shared_axes(std::move(shared_axes)), alpha_regularizer(alpha_regularizer) {}
  std::string_view type() const override { return "PReLU"; }
  std::string_view base_name() const override { return "p_re_lu"; }
  void describe(Fields& fields) override;
  /// Throws InputError for other axes than the first ones.
  Value build(Builder& builder, std::span<const Value> in) const override;

  std::vector<int64_t> shared_axes;
  Regularizer alpha_regularizer = {};
};

}  // namespace lockstep
