// The end of a training step: from the sums of gradients to new weights. One rank's thread.
#pragma once

#include "launch/plan/planner.h"

namespace lockstep {

/// Behind the reductions: penalties, clipping, the optimizer with what is around it, and where the optimizer is sharded
/// the exchange of what each rank has updated. `scaling` as add_finite gives it, empty without loss scaling. Norms of
/// whole variables have the same bits for every number of ranks along "data" and "stage", sharded optimizer or not;
/// where other axes cut variables, the squares of the parts are added by member.
void plan_updates(Planner& planner, const Network& network, const Optimizer& optimizer, const StepTarget& target,
                  const std::vector<Bucket>& buckets, const std::vector<Value>& scaling);

}  // namespace lockstep
