// Lets a communicator that knows host memory alone (MPI) work on a device's buffers: they travel through pinned host
// memory. Used by its rank's thread.
#pragma once

#include <memory>

#include "core/backend.h"
#include "parallel/comm/communicator.h"

namespace lockstep {

/// A communicator over `inner`, whose calls run as host work on the same streams; calls on the CPU's streams pass
/// through. Both references must outlive it, and its work must be done before it goes. It is capturable where `inner`
/// is.
///
/// Each stream has host memory of its own, of the size of the largest call, kept until the end: addresses that a graph
/// has recorded stay valid. Where a graph is replayed on another stream than a call was recorded on, calls made on that
/// stream itself must be ordered with the replay by events, as all calls of one communicator must be.
std::unique_ptr<Communicator> make_staged(Communicator& inner, Backend& backend);

}  // namespace lockstep
