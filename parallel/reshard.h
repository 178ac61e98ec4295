// The operator that changes a value's placement along one mesh axis. Logically it is the identity.
#pragma once

#include "core/op.h"

namespace lockstep {

/// Along `axis`, from one placement to another. Partial → Replicate is the all-reduce; the bucket pass turns those of a
/// step into few merged ones.
class ReshardOp final : public Op {
 public:
  ReshardOp(int axis, Placement from, Placement to) : axis(axis), from(from), to(to) {}
  std::string_view name() const override { return "reshard"; }
  std::vector<Type> infer(std::span<const Type> in) const override { return {in[0]}; }
  std::vector<Rule> rules() const override { return {}; }
  std::string attributes() const override { return from.str() + "->" + to.str(); }

  const int axis;
  const Placement from, to;
};

}  // namespace lockstep
