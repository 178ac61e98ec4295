// Conversion between floating-point types. Immutable: any thread.
#pragma once

#include "layers/base/layer.h"

namespace lockstep {

/// y = x in another of the types f32, f16 and bf16, rounded to nearest even; what is too large becomes infinity, and
/// NaN stays NaN. Its gradient is the conversion back.
class CastOp final : public Op {
 public:
  /// Throws InputError unless `to` is f32, f16 or bf16.
  explicit CastOp(DType to);
  std::string_view name() const override { return "cast"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  std::string attributes() const override;

  const DType to;
};

}  // namespace lockstep
