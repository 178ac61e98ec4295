// The operators that move values between the members of a mesh axis. Logically they are identities.
#pragma once

#include "core/error.h"
#include "core/op.h"

namespace lockstep {

/// Along one axis, from one placement to another, in every lane:
///   Replicate → Shard, Window      a slice; nothing moves
///   Shard → Replicate              all-gather
///   Shard → Shard                  all-to-all
///   Shard → Window                 halo exchange, with as many neighbours as the window reaches
///   Overlap → Shard                its adjoint: terms go to who owns the element, and are added there
///   Partial → Replicate, Shard     all-reduce, reduce-scatter
/// Terms are added in the order of the members.
class ReshardOp final : public Op {
 public:
  struct Side {
    Placement placement;
    Slices slices;  // where the placement cuts
  };
  ReshardOp(int axis, int64_t member, Side from, Side to)
      : axis(axis), member(member), from(std::move(from)), to(std::move(to)) {}
  std::string_view name() const override { return "reshard"; }
  std::vector<Type> infer(std::span<const Type> in) const override { return {in[0]}; }
  std::vector<Rule> rules() const override { return {}; }
  std::string attributes() const override { return from.placement.str() + "->" + to.placement.str(); }
  bool moves() const override { return true; }
  /// What travels does so beside the kernels.
  Queue queue() const override { return from.placement == replicate ? Queue::Compute : Queue::Exchange; }
  /// A window of whole rows of one image lies around the rows that the member has itself.
  std::optional<size_t> surrounds(const Type& in, const Type& out) const override;

  const int axis;
  const int64_t member;
  const Side from, to;
};

/// "halo exchange", "all-gather", …: what a reshard is known as.
std::string_view kind_of(const ReshardOp& op);

/// What makes one of two terms; none: addition. An operator of f32[n] that takes both and writes in the first one's
/// memory, whatever their order with the same bits; zeros change nothing.
using Merge = std::shared_ptr<const Op>;

/// Partial → Replicate along some axes, ascending: once a step, of a sum over the lanes. The bucket pass turns those of
/// a step into few merged ones.
class ReduceOp final : public Op {
 public:
  ReduceOp(std::vector<int> axes, int of, Merge merge = nullptr)
      : axes(std::move(axes)), of(of), merge(std::move(merge)) {}
  std::string_view name() const override { return "reduce"; }
  std::vector<Type> infer(std::span<const Type> in) const override { return {in[0]}; }
  std::vector<Rule> rules() const override { return {}; }
  std::string attributes() const override { return "P->R"; }
  bool moves() const override { return true; }

  const std::vector<int> axes;
  const int of;  // the sum (value id) before it was brought to where its variable lies
  const Merge merge;
};

/// Sums a range over the ranks along some axes of the mesh. Outputs: the range, the gradients in it where there are
/// any, the values inside it.
class AllReduceOp final : public Op {
 public:
  AllReduceOp(std::vector<int> axes, std::vector<Type> out, bool scatter, Merge merge = nullptr)
      : axes(std::move(axes)), out(std::move(out)), scatter(scatter), merge(std::move(merge)) {}
  std::string_view name() const override { return "all_reduce"; }
  std::vector<Type> infer(std::span<const Type>) const override { return out; }
  std::vector<Rule> rules() const override { return {}; }
  Queue queue() const override { return Queue::Side; }
  bool moves() const override { return true; }
  std::string attributes() const override {
    return fmt::format("{} bytes over ax{} {}", out[0].bytes(), axes.size() == 1 ? "is" : "es", fmt::join(axes, ", "));
  }

  const std::vector<int> axes;
  const std::vector<Type> out;
  const bool scatter;  // the sum ends in the part alone that the rank owns
  const Merge merge;
};

/// Along the first axis, each rank's owned part of a range goes to all. Input: the owned part; output: the range, in
/// which it lies.
class GatherOwnedOp final : public Op {
 public:
  explicit GatherOwnedOp(int64_t floats) : floats(floats) {}
  std::string_view name() const override { return "gather_owned"; }
  std::vector<Type> infer(std::span<const Type>) const override { return {{Shape{floats}, DType::f32}}; }
  std::vector<Rule> rules() const override { return {}; }

  const int64_t floats;
};

/// The sum of each of a few floats over the ranks along some axes, in the order of their places, once a step.
class RankSumOp final : public Op {
 public:
  RankSumOp(std::string what, std::vector<size_t> axes) : what(std::move(what)), axes(std::move(axes)) {}
  std::string_view name() const override { return "rank_sum"; }
  std::vector<Type> infer(std::span<const Type> in) const override { return {in[0]}; }
  std::vector<Rule> rules() const override { return {}; }

  const std::string what;  // travels, for reports
  const std::vector<size_t> axes;
};

/// What each rank along an axis has, once a step: blocks of as much, of the ranks `order` names, in that order.
class GatherRanksOp final : public Op {
 public:
  GatherRanksOp(std::string what, size_t axis, std::vector<int> order)
      : what(std::move(what)), axis(axis), order(std::move(order)) {}
  std::string_view name() const override { return "gather_ranks"; }
  std::vector<Type> infer(std::span<const Type> in) const override {
    Type all = in[0];
    all.shape[0] *= static_cast<int64_t>(order.size());
    return {all};
  }
  std::vector<Rule> rules() const override { return {}; }

  const std::string what;  // travels, for reports
  const size_t axis;
  const std::vector<int> order;  // all ranks along the axis
};

}  // namespace lockstep
