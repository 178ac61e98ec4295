// What the checks of a self-test are given and give. On each rank, by its thread.
#pragma once

#include <string>

#include "launch/train/device.h"

namespace lockstep::selftest_checks {

/// A rank that is tested.
struct Subject {
  RankContext& rank;
  Device& device;
  Communicator& comm;  // for buffers of the device, with what tests put between
  uint64_t seed = 0;
};

/// What a rank found: a fault, or none, and what rank 0 tells of it.
struct Finding {
  std::string fault = {};
  std::string seen = {};
};

}  // namespace lockstep::selftest_checks
