// The floating-point environment that every computing thread of Lockstep shares: subnormal numbers count as zero.
// A setting of the calling thread alone.
#pragma once

namespace lockstep {

/// Results that are subnormal become zero, and so do subnormal operands (x86: FTZ and DAZ; Arm: FZ).
void flush_subnormals_to_zero();

}  // namespace lockstep
