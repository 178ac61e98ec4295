// What moving data between two ranks costs. Any thread, but for the measurement.
#pragma once

#include <string>

#include "launch/host/runtime.h"

namespace lockstep {

/// Between two ranks, each way.
struct Link {
  double latency = 0;    // seconds
  double bandwidth = 0;  // bytes a second
  bool measured = false;

  /// Seconds that so many exchanges, one after the other, take.
  double seconds(size_t times, size_t bytes) const {
    return static_cast<double>(times) * latency + static_cast<double>(bytes) / bandwidth;
  }
};

/// "LATENCY_US,GB_PER_S", as "5,12.5". Throws InputError that says what was given and what was expected.
Link parse_link(const std::string& text);

/// The link between two threads of this process while `ranks` of them exchange in pairs, measured in a moment. Throws
/// InputError under a launcher.
Link measure_link(Runtime& runtime, int ranks);

}  // namespace lockstep
