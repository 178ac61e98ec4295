// What sums are to be made over ranks, before they are merged into few.
#pragma once

#include "core/graph/op.h"

namespace lockstep {

/// What makes one of two terms; none: addition. An operator of f32[n] that takes both and writes in the first one's
/// memory, whatever their order with the same bits; zeros change nothing.
using Merge = std::shared_ptr<const Op>;

/// Partial → Replicate along some axes, ascending: once a step, of a sum over the lanes. The bucket pass turns those of
/// a step into few merged ones.
class ReduceOp final : public Op {
 public:
  ReduceOp(std::vector<int> axes, Value of, Merge merge = nullptr)
      : axes(std::move(axes)), of(of), merge(std::move(merge)) {}
  std::string_view name() const override { return "reduce"; }
  std::vector<Type> infer(std::span<const Type> in) const override { return {in[0]}; }
  std::vector<Rule> rules() const override { return {}; }
  std::string attributes() const override { return "P->R"; }
  bool moves() const override { return true; }

  const std::vector<int> axes;
  const Value of;  // the sum before it was brought to where its variable lies
  const Merge merge;
};

}  // namespace lockstep
