// What communicators promise, on messages of known content. All ranks call together.
#pragma once

#include "launch/selftest/check.h"

namespace lockstep::selftest_checks {

/// Every call of Communicator, at sizes from one float to 256 KiB, over all ranks and over halves of them, in the
/// device's memory.
Finding exchanges(const Subject& subject);

}  // namespace lockstep::selftest_checks
