// Sums over the lanes inside a rank.
#pragma once

#include "parallel/collectives/reduce.h"
#include "parallel/mesh/mesh_op.h"

namespace lockstep {

/// Merges the terms of a lane into the rank's stack of partial sums. Inputs are the terms, which lie in the range of
/// the output (floats in Region::sum); they are read through it.
class MergeLaneOp final : public MeshOp {
 public:
  MergeLaneOp(int64_t floats, Merge merge) : floats(floats), merge(std::move(merge)) {}
  std::string_view name() const override { return "merge_lane"; }
  std::vector<Type> infer(std::span<const Type>) const override { return {{Shape{floats}, DType::f32}}; }
  Kernel make(const Signature& signature, MeshContext& context) const override;
  std::optional<Traffic> traffic(const Signature&, const Mesh&, Numerics) const override { return std::nullopt; }
  bool each_lane() const override { return true; }

  const int64_t floats;
  const Merge merge;
};

}  // namespace lockstep
