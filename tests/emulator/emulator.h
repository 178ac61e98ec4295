// How tests steer the emulator. Any thread may call.
#pragma once

namespace emulator {

/// In which order threads run between two barriers, blocks of a grid, and independent nodes of a graph. A kernel whose
/// results differ between the two lacks a barrier. At first what LOCKSTEP_EMULATOR_ORDER says: ascending or reverse.
enum class Order : unsigned char { ascending, reverse };
void set_order(Order order);
Order order();

/// Forgets a kernel's failure, which otherwise every later call returns, as a broken device does.
void forget_failure();

}  // namespace emulator
