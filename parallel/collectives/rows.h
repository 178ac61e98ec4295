// An operator over some rows of images: its kernels run image by image.
#pragma once

#include "parallel/mesh/mesh_op.h"

namespace lockstep {

/// Some rows of the output, and the rows of the input under them; of the local tensors.
struct RowPiece {
  std::shared_ptr<const Op> op;  // for one image, of these rows alone
  Interval in, out;
};

/// Computes pieces of its output from images, its first input; the other inputs go to each piece. With `onto`, the
/// first input is the output with other rows in it, which stay, and images come second.
class RowsOp final : public MeshOp {
 public:
  RowsOp(Type out, std::vector<RowPiece> pieces, bool onto)
      : out(std::move(out)), pieces(std::move(pieces)), onto(onto) {}
  std::string_view name() const override { return pieces.front().op->name(); }
  std::vector<Type> infer(std::span<const Type>) const override { return {out}; }
  Kernel make(const Signature& signature, MeshContext& context) const override;
  std::optional<Traffic> traffic(const Signature&, const Mesh&, Numerics) const override { return std::nullopt; }
  double flops(const Signature& signature) const override;
  bool each_lane() const override { return true; }
  bool moves() const override { return true; }
  Reuse reuse() const override { return onto ? Reuse::in_place : Reuse::none; }
  std::string attributes() const override;

  const Type out;  // logical
  const std::vector<RowPiece> pieces;
  const bool onto;
};

}  // namespace lockstep
