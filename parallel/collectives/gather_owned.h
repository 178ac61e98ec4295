// Parts that ranks own go to all.
#pragma once

#include "parallel/mesh/mesh_op.h"

namespace lockstep {

/// Along the first axis, each rank's owned part of a range goes to all. Input: the owned part; output: the range, in
/// which it lies.
class GatherOwnedOp final : public MeshOp {
 public:
  explicit GatherOwnedOp(int64_t floats) : floats(floats) {}
  std::string_view name() const override { return "gather_owned"; }
  std::vector<Type> infer(std::span<const Type>) const override { return {{Shape{floats}, DType::f32}}; }
  Kernel make(const Signature& signature, MeshContext& context) const override;
  std::optional<Traffic> traffic(const Signature& signature, const Mesh& mesh, Numerics numerics) const override;

  const int64_t floats;
};

}  // namespace lockstep
