// The CUDA kernels: one `make` an operator, each defined in layers/cuda/<room>/<op>.cu, all listed in layers/list.inc.
#pragma once

#include <memory>
#include <string>

#include "core/backend.h"
#include "core/graph/kernel.h"
#include "layers/engines.h"

namespace lockstep {

/// The CUDA kernels of one rank, for `backend`, which make_cuda_backend made and which must outlive all kernels.
/// Choices that `engines` holds are used again (and refused with InputError where the library no longer has them);
/// those that are made are added.
KernelTable cuda_kernels(Backend& backend, const KernelOptions& options, std::shared_ptr<EngineChoices> engines);

/// "9.19.0", "13.1.0": versions of the libraries that are linked.
std::string cudnn_version();
std::string cublas_version();

}  // namespace lockstep
