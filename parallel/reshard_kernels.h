// The kernels of reshards. One rank's thread.
#pragma once

#include "core/kernel.h"
#include "parallel/mesh.h"

namespace lockstep {

/// Adds the kernel of ReshardOp. `mesh` must outlive the kernels.
void add_reshard_kernels(KernelTable& kernels, const Mesh& mesh);

}  // namespace lockstep
