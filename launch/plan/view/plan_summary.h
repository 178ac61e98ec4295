// A planned training step in numbers: where each layer lies, and what moves. One rank's thread.
#pragma once

#include <map>
#include <string>

#include "launch/plan/step.h"

namespace lockstep {

/// How many exchanges of a kind, and their bytes in a step.
using Moved = std::map<std::string, std::pair<int, size_t>>;

/// One layer of a network, as a rank has it.
struct PlannedLayer {
  Placements placement;     // of its output, along each axis; empty where it is fused into another's operator
  std::string output = {};  // local type of a lane
  int rank = 0;             // dimensions of it
  size_t parameters = 0;    // bytes
  Moved moved = {};
  int stage = 0;
};

/// What one rank of a stage does in a step, and has memory for.
struct PlannedRank {
  int stage = 0;
  std::string sums = {};  // lines of text
  size_t sent = 0;        // bytes a step
  size_t memory = 0, activations = 0;
  int in_flight = 1;
};

struct PlanSummary {
  std::map<std::string, PlannedLayer> layers;  // by name
  std::vector<PlannedRank> ranks;              // of the first lanes: one a stage
};

/// Of this rank.
PlanSummary summarise(const Network& network, const StepPlan& plan, const Mesh& mesh, const VariableLayout& layout,
                      Numerics numerics);
/// Of all stages, as their first ranks have them, on rank 0 of `host`, which all ranks of the mesh call; its memory is
/// the host's.
PlanSummary gather_stages(const PlanSummary& mine, const Mesh& mesh, Communicator& host);

}  // namespace lockstep
