// What a step's time is spent on: a table of its nodes with their time, arithmetic and traffic. Pure functions: any
// thread.
#pragma once

#include "core/plan/executor.h"

namespace lockstep {

/// A line a node, those that take longest first: milliseconds a step, share of the step, GFLOP/s, GB/s; then the same
/// summed by operator, and the whole. `times` are those of `steps` steps of this plan on one rank.
std::string profile_table(const StepPlan& plan, const NodeTimes& times, int64_t steps);

}  // namespace lockstep
