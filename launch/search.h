// Which strategy trains a network fastest on so many ranks: each that is possible is planned, its work is timed on this
// machine, and what it sends is priced by a link's latency and bandwidth.
#pragma once

#include <string>
#include <vector>

#include "launch/runtime.h"
#include "launch/step.h"

namespace lockstep {

/// Between two ranks, each way.
struct Link {
  double latency = 0;    // seconds
  double bandwidth = 0;  // bytes a second
};

struct Candidate {
  std::string strategy = {};  // as --strategy takes it
  std::string refusal = {};   // why it cannot be; empty where it can
  double compute = 0;         // seconds a step, of the slowest rank, when nothing waits for another
  double communication = 0;   // seconds a step, of the first rank, none of it hidden
  size_t sent = 0;            // bytes a step, of the first rank
  size_t memory = 0;          // bytes, of the first rank: activations, sums, parameters, the optimizer's variables
  double seconds() const { return compute + communication; }
};

/// The link between two threads of this process, measured in a moment.
Link measure_link(Runtime& runtime);

/// All meshes of `ranks` ranks over data, space_h, space_w, filter and channel; the fastest first, those that are
/// refused last. Ranks are threads of this process on the CPU, with `threads` compute threads each. Throws InputError
/// under a launcher.
std::vector<Candidate> search_strategies(Runtime& runtime, const Network& network, const StepOptions& step,
                                         const Optimizer& optimizer, int ranks, int threads, const Link& link);

/// A table, with the reason of each place.
std::string describe(const std::vector<Candidate>& candidates, const Link& link);

}  // namespace lockstep
