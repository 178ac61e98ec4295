// The kernels of reshards. One rank's thread.
#pragma once

#include "core/kernel.h"
#include "parallel/mesh.h"
#include "parallel/reshard.h"

namespace lockstep {

/// Bytes that this rank sends to others of `comm`, the members of the reshard's axis, in one lane.
size_t sent_bytes(const ReshardOp& op, const Signature& signature, Communicator& comm);

/// Adds the kernel of ReshardOp. `mesh` must outlive the kernels.
void add_reshard_kernels(KernelTable& kernels, const Mesh& mesh);

}  // namespace lockstep
