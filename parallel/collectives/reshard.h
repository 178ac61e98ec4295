// The operator that moves values between the members of a mesh axis. Logically it is the identity.
#pragma once

#include "parallel/mesh/mesh_op.h"

namespace lockstep {

/// Along one axis, from one placement to another, in every lane:
///   Replicate → Shard, Window      a slice; nothing moves
///   Shard → Replicate              all-gather
///   Shard → Shard                  all-to-all
///   Shard → Window                 halo exchange, with as many neighbours as the window reaches
///   Overlap → Shard                its adjoint: terms go to who owns the element, and are added there
///   Partial → Replicate, Shard     all-reduce, reduce-scatter
/// Terms are added in the order of the members.
class ReshardOp final : public MeshOp {
 public:
  struct Side {
    Placement placement;
    Slices slices;  // where the placement cuts
  };
  ReshardOp(int axis, int64_t member, Side from, Side to)
      : axis(axis), member(member), from(std::move(from)), to(std::move(to)) {}
  std::string_view name() const override { return "reshard"; }
  std::vector<Type> infer(std::span<const Type> in) const override { return {in[0]}; }
  Kernel make(const Signature& signature, MeshContext& context) const override;
  std::optional<Traffic> traffic(const Signature& signature, const Mesh& mesh, Numerics numerics) const override;
  bool each_lane() const override { return true; }
  std::string attributes() const override { return from.placement.str() + "->" + to.placement.str(); }
  bool moves() const override { return true; }
  /// What travels does so beside the kernels.
  Queue queue() const override { return from.placement == replicate ? Queue::compute : Queue::exchange; }
  /// A window of whole rows of one image lies around the rows that the member has itself.
  std::optional<size_t> surrounds(const Type& in, const Type& out) const override;

  const int axis;
  const int64_t member;
  const Side from, to;
};

}  // namespace lockstep
