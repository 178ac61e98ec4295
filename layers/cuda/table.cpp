#include "core/graph/register_kernel.h"
#include "layers/cuda/context.h"
#include "layers/ops.h"

namespace lockstep {

KernelTable cuda_kernels(Backend& backend, const KernelOptions& options, std::shared_ptr<EngineChoices> engines) {
  const auto context = std::make_shared<cuda::Context>(backend, options, std::move(engines));
  KernelTable kernels;
#define LOCKSTEP_OP(Class) \
  kernels.add<Class>(      \
      [context](const Class& op, const Signature& signature) { return cuda::make(op, signature, context); });
#include "layers/list.inc"
  kernels.add_all<Op>(registered_kernels("cuda"));
  return kernels;
}

}  // namespace lockstep
