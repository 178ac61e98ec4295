// Ranks with a GPU each, whose data NCCL moves over NVLink, PCIe or the network. Used by its rank's thread.
#pragma once

#include <memory>
#include <string>

#include "parallel/comm/communicator.h"

namespace lockstep {

/// NCCL's version, "2.28.9"; "none" in a build without it.
std::string nccl_version();

/// A communicator of the ranks of `control` (Mpi or Local), which all call together and which must outlive it, on the
/// calling thread's CUDA device: every stream that is passed must be one of its. Graphs that its calls were recorded
/// into must be destroyed before it.
///
/// The first call between two ranks may wait for the peer, on the host, to connect. A call that fails aborts all ranks,
/// with the call's name; so does one whose work is not done LOCKSTEP_COMM_TIMEOUT seconds (600 where that is not set)
/// after the latest call was enqueued, and a replay of recorded calls that long after `watch`. What is on the streams
/// then ends with wrong results, and `check` throws.
///
/// Throws InputError where this build has no NCCL, where two ranks have the same GPU, which NCCL refuses, and where
/// LOCKSTEP_COMM_TIMEOUT is no number of seconds from 1 on; Error where NCCL fails to start.
std::unique_ptr<Communicator> make_nccl(Communicator& control);

}  // namespace lockstep
