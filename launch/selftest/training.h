// The same bits, by every number of ranks and every strategy that fits. All ranks call together.
#pragma once

#include "launch/selftest/check.h"

namespace lockstep::selftest_checks {

/// Some steps of a small network by each mesh of these ranks, against each rank alone: equal weights after every step,
/// on all ranks; where a mesh cuts inside a sample, equal for all that cut alike, and close to a rank alone.
Finding same_bits(const Subject& subject);
/// Fifty steps, twice; on GPUs in each precision.
Finding same_bits_again(const Subject& subject);
/// What reproducible numerics costs beside fast ones; both come to the same but for rounding.
Finding fast_numerics(const Subject& subject);

}  // namespace lockstep::selftest_checks
