#include "parallel/mesh/mesh_op.h"

namespace lockstep {

KernelTable with_mesh_ops(const Mesh& mesh, Backend& backend, const KernelTable& kernels, Numerics numerics,
                          size_t largest) {
  KernelTable all = kernels;
  const auto context = std::make_shared<MeshContext>(mesh, backend, kernels, numerics, largest);
  all.add_all<MeshOp>([context](const MeshOp& op, const Signature& signature) { return op.make(signature, *context); });
  return all;
}

}  // namespace lockstep
