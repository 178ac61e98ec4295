// A planned training step as a table: where each layer lies, and what moves. Pure functions: any thread.
#pragma once

#include <string>

#include "launch/step.h"

namespace lockstep {

/// A line a layer: its outputs' placement along each axis of the mesh, their local shape, the local size of its
/// parameters, and what this rank sends for it in a step; then the sums over the batch, and the rank's memory.
std::string plan_table(const Network& network, const StepPlan& plan, const Mesh& mesh, const VariableLayout& layout,
                       bool reproducible);

}  // namespace lockstep
