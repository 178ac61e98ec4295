// A picture of a planned training step: which member of the mesh has what of every layer. Pure functions: any thread.
#pragma once

#include <string>

#include "launch/plan/view/plan_table.h"

namespace lockstep {

/// SVG, a row a layer: the square is the height and width of its images, the bar beside it its channels, each cut where
/// the strategy cuts it, a colour a member; then the local shape and what a rank sends for the layer in a step.
std::string draw_plan(const Network& network, const PlanSummary& summary, const Mesh& mesh);

}  // namespace lockstep
