// Prints what the passes made.
#pragma once

#include <string>

#include "core/plan/step_plan.h"

namespace lockstep {

/// The nodes of a graph in order: name, operator, attributes, inputs and output types.
std::string dump(const Graph& graph);
/// The scheduled step: when each node runs, local types, placements, memory; then the regions' sizes.
std::string dump(const StepPlan& plan);
/// What runs in that order on which stream, and what it waits for.
std::string dump(const Graph& graph, std::span<const Entry> order, const Synchronisation& sync);

}  // namespace lockstep
