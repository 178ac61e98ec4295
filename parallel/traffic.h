// What a planned step moves between ranks. Pure functions: any thread.
#pragma once

#include <string_view>

#include "core/plan/step_plan.h"
#include "parallel/mesh.h"

namespace lockstep {

/// Kinds of what stages of a pipeline send each other.
inline constexpr std::string_view to_later_stage = "to a later stage", to_earlier_stage = "to an earlier stage";

/// One node that moves data.
struct Collective {
  std::string node;
  std::string kind;       // "halo exchange", "all-reduce", …
  std::vector<int> axes;  // of the mesh
  size_t bytes = 0;       // that this rank sends in a step, over all its lanes
  size_t times = 0;       // exchanges in a step that come one after the other
};

/// In the order in which they run; slices, which move nothing, left out. In fast mode a sum over the first axis is the
/// library's: counted is what the best possible one would send.
std::vector<Collective> collectives(const StepPlan& plan, const Mesh& mesh, bool reproducible);

}  // namespace lockstep
