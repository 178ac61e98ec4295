// What one stage of a pipeline knows goes to all.
#pragma once

#include "parallel/mesh/mesh_op.h"

namespace lockstep {

/// What one stage has goes to all, once a step; where it is nothing, what was sent has left. Its inputs are there on
/// that stage alone.
class ShareOp final : public MeshOp {
 public:
  ShareOp(int stage, std::vector<Type> types) : stage(stage), types(std::move(types)) {}
  std::string_view name() const override { return "share"; }
  std::vector<Type> infer(std::span<const Type>) const override { return types; }
  Kernel make(const Signature& signature, MeshContext& context) const override;
  std::optional<Traffic> traffic(const Signature& signature, const Mesh& mesh, Numerics numerics) const override;
  std::string attributes() const override { return "from stage " + std::to_string(stage); }

  const int stage;
  const std::vector<Type> types;
};

}  // namespace lockstep
