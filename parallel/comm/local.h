// Ranks as threads of one process: what runs several ranks on one machine without MPI, with the same bits.
#pragma once

#include <memory>
#include <vector>

#include "parallel/comm/communicator.h"

namespace lockstep {

/// n communicators, one for each of n ranks, each to be used by its own thread. They must outlive the work that was
/// enqueued through them, and none may be under way when `split` is called. With n = 1 all calls are the identity.
/// `all_reduce` and `reduce_scatter` add around a ring, which is not the order of the canonical tree.
/// Throws Error when n < 1.
std::vector<std::unique_ptr<Communicator>> make_local(int n);

}  // namespace lockstep
