// How long a step by some strategy will take: the step is planned, each rank's work is timed on this machine while
// nothing is exchanged, and what is sent is priced by a link's latency and bandwidth.
#pragma once

#include "launch/estimate/link.h"
#include "launch/plan/step.h"

namespace lockstep {

/// Of a step, in seconds and bytes.
struct StepEstimate {
  double compute = 0;        // until the slowest rank is done, when nothing waits for another
  double waiting = 0;        // what stages of a pipeline add, which wait for each other
  double communication = 0;  // of the rank that takes longest to send; hidden by nothing but a pipeline's turns
  size_t sent = 0;           // of the rank that sends most
  size_t memory = 0;         // of the rank that needs most: activations, sums, parameters, the optimizer's variables
  double seconds() const { return compute + waiting + communication; }
};

/// Of `ranks` ranks that are threads of this process on the CPU, with `threads` compute threads each. Throws InputError
/// as planning does, and under a launcher.
StepEstimate estimate_step(Runtime& runtime, const Network& network, const StepOptions& step,
                           const Optimizer& optimizer, int ranks, int threads, const Link& link);

}  // namespace lockstep
