// A planned training step as a table. Pure functions: any thread.
#pragma once

#include "launch/plan/view/plan_summary.h"

namespace lockstep {

std::string bytes_text(size_t bytes);
/// "2 halo exchange 1.5 KiB, …"
std::string moved_text(const Moved& moved);

/// A line a layer: its output's placement along each axis of the mesh, its local shape, the local size of its
/// variables, and what a rank sends for it in a step; then, for each stage, the sums over the batch and a rank's
/// memory; then `pipeline`, what there is to say of stages.
std::string plan_table(const Network& network, const PlanSummary& summary, const Mesh& mesh,
                       const std::string& pipeline);

}  // namespace lockstep
