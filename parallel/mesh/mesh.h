// A rank's place on a strategy's mesh, and its neighbours along each axis. One rank's thread.
#pragma once

#include <memory>
#include <vector>

#include "parallel/comm/communicator.h"
#include "parallel/mesh/strategy.h"

namespace lockstep {

/// Ranks of `strategy` that share the work on one lane lie next to each other; the last axis' members are neighbours.
/// Throws InputError where `ranks` cannot be laid out so.
void check_ranks(const Strategy& strategy, int ranks);

class Mesh {
 public:
  /// All ranks of `world` call together; it must outlive the mesh. `strategy.mesh[0].size` is not used: the first axis
  /// has as many ranks as are left. Throws as check_ranks does.
  Mesh(const Strategy& strategy, Communicator& world);

  const Strategy& strategy() const { return strategy_; }
  Communicator& world() const { return world_; }
  /// The ranks that differ from this one in their place on `axis` alone, in the order of their places.
  Communicator& along(size_t axis) const { return axes_.empty() ? world_ : *axes_[axis]; }
  /// The same ranks once more, for sums over the batch, which are made beside the exchanges inside a lane; along
  /// "stage" for gradients, which travel beside activations.
  Communicator& sums_along(size_t axis) const { return axes_.empty() ? world_ : *sums_[axis]; }
  /// Ranks along the first axis, and this rank's place among them.
  int data_ranks() const { return along(0).size(); }
  int data_rank() const { return along(0).rank(); }
  /// This rank's stage of a pipeline; 0 where there is none.
  int stage() const { return strategy_.stage_axis() ? along(strategy_.stage_axis()).rank() : 0; }
  /// Communicator::watch and check of all of them.
  void watch(Stream& stream) const;
  void check() const;
  /// The place of a rank along each axis but the first.
  std::vector<int64_t> coordinates(int rank) const;
  std::vector<int64_t> coordinates() const { return coordinates(world_.rank()); }

 private:
  Strategy strategy_;
  Communicator& world_;
  std::vector<std::unique_ptr<Communicator>> axes_, sums_;  // none where there is but the first
};

}  // namespace lockstep
