// Which strategy trains a network fastest on so many ranks: each that is possible is estimated on this machine.
#pragma once

#include <string>
#include <vector>

#include "launch/estimate/step_estimate.h"

namespace lockstep {

/// All meshes of so many ranks over the axes that there are, as --strategy takes them.
std::vector<std::string> meshes_of(int ranks);

struct Candidate {
  std::string strategy = {};  // as --strategy takes it
  std::string refusal = {};   // why it cannot be; empty where it can
  StepEstimate step = {};
};

/// All meshes of `ranks` ranks over data, space_h, space_w, filter, channel and stage; the fastest first, those that
/// are refused last. All but the mesh is as in `step`. Ranks are threads of this process on the CPU, with `threads`
/// compute threads each. Throws InputError under a launcher.
std::vector<Candidate> search_strategies(Runtime& runtime, const Network& network, const StepOptions& step,
                                         const Optimizer& optimizer, int ranks, int threads, const Link& link);

/// A table, with the reason of each place.
std::string describe(const std::vector<Candidate>& candidates, const Link& link);

}  // namespace lockstep
