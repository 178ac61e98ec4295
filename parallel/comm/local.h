// Ranks as threads of one process: what runs several ranks on one machine without MPI, with the same bits.
#pragma once

#include <memory>
#include <vector>

#include "parallel/comm/communicator.h"

namespace lockstep {

/// n communicators, one for each of n ranks, each to be used by its own thread. They must outlive the work that was
/// enqueued through them, and none may be under way when `split` is called. With n = 1 all calls are the identity.
/// `all_reduce` and `reduce_scatter` add around a ring, which is not the order of the canonical tree; `reduce_scatter`
/// may be called in place (`out` is this rank's block of `in`).
///
/// Buffers may be a device's, and ranks may share it. A call on its stream then waits, on the host, for the other
/// ranks' matching calls, though not for the work: ranks that use several of these communicators, or streams, must make
/// their calls in one order. Where ranks have different devices, these must reach each other's memory (the sums read
/// it). A rank uses its communicator with streams of one device. Throws Error when n < 1.
std::vector<std::unique_ptr<Communicator>> make_local(int n);

}  // namespace lockstep
