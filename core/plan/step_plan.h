// A planned step: all that the executor needs, made once by the passes and printable (see dump.h).
#pragma once

#include "core/graph/kernel.h"
#include "core/graph/per_id.h"
#include "core/plan/memory.h"
#include "core/plan/synchronise.h"

namespace lockstep {

struct StepPlan {
  Graph graph;                                 // with reshards; logical types
  PerValue<Type> local;                        // what a kernel sees
  PerValue<std::vector<Placement>> placement;  // by mesh axis
  PerValue<std::vector<Slices>> slices;        // the same: of what is cut
  int lanes = 1;                               // of this rank
  std::vector<Turn> turns;                     // where empty, finish_plan makes them one a lane
  int in_flight = 1;  // lanes whose forward part has begun and whose backward part has not ended, at most
  std::vector<Entry> order;
  PerNode<Kernel> kernels;
  MemoryPlan memory;
  Synchronisation sync;

  /// The local types of a node.
  Signature signature(const Node& node) const;
};

/// Passes schedule, make, memory and synchronise over a placed graph: fills order, turns, kernels, memory and sync. The
/// kernels are made in the calling thread, which must be the one that runs them. Throws Error where an operator's
/// inference over the local types disagrees with the placement, InputError with the node's name where no kernel can be
/// made for them.
void finish_plan(StepPlan& plan, const KernelTable& kernels, const FixedLocations& fixed);

/// Number of slots of the stack of lane sums: lane l writes slot popcount(l).
int slot_of_lane(int lane);
int slot_count(int lanes);

}  // namespace lockstep
