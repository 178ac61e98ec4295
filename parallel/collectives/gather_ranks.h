// What each rank has goes to all.
#pragma once

#include "parallel/mesh/mesh_op.h"

namespace lockstep {

/// What each rank along an axis has, once a step: blocks of as much, of the ranks `order` names, in that order.
class GatherRanksOp final : public MeshOp {
 public:
  GatherRanksOp(std::string what, size_t axis, std::vector<int> order)
      : what(std::move(what)), axis(axis), order(std::move(order)) {}
  std::string_view name() const override { return "gather_ranks"; }
  std::vector<Type> infer(std::span<const Type> in) const override {
    Type all = in[0];
    all.shape[0] *= static_cast<int64_t>(order.size());
    return {all};
  }
  Kernel make(const Signature& signature, MeshContext& context) const override;
  std::optional<Traffic> traffic(const Signature& signature, const Mesh& mesh, Numerics numerics) const override;

  const std::string what;  // travels, for reports
  const size_t axis;
  const std::vector<int> order;  // all ranks along the axis
};

}  // namespace lockstep
