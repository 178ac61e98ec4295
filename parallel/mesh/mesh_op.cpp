#include "parallel/mesh/mesh_op.h"

namespace lockstep {

KernelTable with_mesh_ops(const Mesh& mesh, Backend& backend, const KernelTable& kernels, Numerics numerics,
                          size_t largest) {
  KernelTable all = kernels;
  const auto context = std::make_shared<MeshContext>(mesh, backend, kernels, numerics, largest);
  all.add_all<Op>([context](const Op& op, const Signature& signature) {
    const auto* const collective = dynamic_cast<const MeshOp*>(&op);
    return collective ? collective->make(signature, *context) : context->kernels.make(op, signature);
  });
  return all;
}

}  // namespace lockstep
