// A bias of its own, after operators whose results are sums over ranks: there it must be added once. Immutable: any
// thread.
#pragma once

#include "layers/base/layer.h"

namespace lockstep {

/// y[N,H,W,C] = x[N,H,W,C] + b[C], of x's type; b is f32.
class BiasOp final : public Op {
 public:
  std::string_view name() const override { return "bias"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  Reuse reuse() const override { return Reuse::in_place; }
};

/// db[C], f32, from dy [N,H,W,C]: its sum over all but the channels.
class BiasGradOp final : public Op {
 public:
  std::string_view name() const override { return "bias_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
};

}  // namespace lockstep
