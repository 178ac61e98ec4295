// Sums of a range over the ranks.
#pragma once

#include <fmt/ranges.h>

#include "parallel/collectives/reduce.h"
#include "parallel/mesh/mesh_op.h"
#include "parallel/reduction/tree_reduce.h"

namespace lockstep {

/// Sums a range over the ranks along some axes of the mesh. Outputs: the range, the gradients in it where there are
/// any, the values inside it.
class AllReduceOp final : public MeshOp {
 public:
  AllReduceOp(std::vector<int> axes, std::vector<Type> out, bool scatter, Merge merge = nullptr)
      : axes(std::move(axes)), out(std::move(out)), scatter(scatter), merge(std::move(merge)) {}
  std::string_view name() const override { return "all_reduce"; }
  std::vector<Type> infer(std::span<const Type>) const override { return out; }
  Kernel make(const Signature& signature, MeshContext& context) const override;
  std::optional<Traffic> traffic(const Signature& signature, const Mesh& mesh, Numerics numerics) const override;
  Queue queue() const override { return Queue::side; }
  bool moves() const override { return true; }
  std::string attributes() const override {
    return fmt::format("{} bytes over ax{} {}", out[0].bytes(), axes.size() == 1 ? "is" : "es", fmt::join(axes, ", "));
  }

  const std::vector<int> axes;
  const std::vector<Type> out;
  const bool scatter;  // the sum ends in the part alone that the rank owns
  const Merge merge;
};

/// Addition of n floats, or what the operator's kernel makes of two of them.
Combine combine_by(const KernelTable& kernels, const Merge& merge, int64_t n);

}  // namespace lockstep
