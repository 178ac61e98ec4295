// Sums of a few floats over the ranks.
#pragma once

#include "parallel/mesh/mesh_op.h"

namespace lockstep {

/// The sum of each of a few floats over the ranks along some axes, in the order of their places, once a step.
class RankSumOp final : public MeshOp {
 public:
  RankSumOp(std::string what, std::vector<size_t> axes) : what(std::move(what)), axes(std::move(axes)) {}
  std::string_view name() const override { return "rank_sum"; }
  std::vector<Type> infer(std::span<const Type> in) const override { return {in[0]}; }
  Kernel make(const Signature& signature, MeshContext& context) const override;
  std::optional<Traffic> traffic(const Signature& signature, const Mesh& mesh, Numerics numerics) const override;

  const std::string what;  // travels, for reports
  const std::vector<size_t> axes;
};

}  // namespace lockstep
