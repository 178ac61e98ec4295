// A planned training step as a table: where each layer lies, and what moves. Pure functions: any thread.
#pragma once

#include <map>
#include <string>

#include "launch/step.h"

namespace lockstep {

/// How many exchanges of a kind, and their bytes in a step.
using Moved = std::map<std::string, std::pair<int, size_t>>;
std::string moved_text(const Moved& moved);

/// One layer of a network, as this rank has it.
struct PlannedLayer {
  Placements placement;     // of its output, along each axis; empty where it is fused into another's operator
  std::string output = {};  // local type of a lane
  int rank = 0;             // dimensions of it
  size_t parameters = 0;    // bytes
  Moved moved = {};
};

struct PlanSummary {
  std::map<std::string, PlannedLayer> layers;  // by name
  std::string sums;                            // lines of text
  size_t sent = 0;                             // bytes a step
};

PlanSummary summarise(const Network& network, const StepPlan& plan, const Mesh& mesh, const VariableLayout& layout,
                      bool reproducible);

/// A line a layer: its output's placement along each axis of the mesh, its local shape, the local size of its
/// parameters, and what this rank sends for it in a step; then the sums over the batch, and the rank's memory.
std::string plan_table(const Network& network, const PlanSummary& summary, const StepPlan& plan, const Mesh& mesh);

}  // namespace lockstep
