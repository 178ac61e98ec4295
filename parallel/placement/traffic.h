// What a planned step moves between ranks. Pure functions: any thread.
#pragma once

#include "core/plan/step_plan.h"
#include "parallel/mesh/mesh_op.h"

namespace lockstep {

/// One node that moves data: in a step, over all lanes.
struct Collective : Traffic {
  std::string node;
};

/// In the order in which they run; without those that move nothing.
std::vector<Collective> collectives(const StepPlan& plan, const Mesh& mesh, Numerics numerics);

}  // namespace lockstep
