// The end of a training step: from the sums of gradients to new weights. One rank's thread.
#pragma once

#include "launch/planner.h"

namespace lockstep {

/// Behind the reductions: penalties, clipping, the optimizer with what is around it, and where the optimizer is sharded
/// the exchange of what each rank has updated. `scaling` as add_finite gives it, empty without loss scaling.
/// Throws InputError where the optimizer or clipping needs norms of whole variables, and no rank has all of a variable.
void plan_updates(Planner& planner, const Network& network, const Optimizer& optimizer, const StepTarget& target,
                  const std::vector<Bucket>& buckets, const std::vector<Value>& scaling);

}  // namespace lockstep
