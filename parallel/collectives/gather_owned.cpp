#include "parallel/collectives/gather_owned.h"

#include "parallel/reduction/tree_reduce.h"

namespace lockstep {

Kernel GatherOwnedOp::make(const Signature& signature, MeshContext& context) const {
  Communicator& comm = context.mesh.along(0);
  const auto n = static_cast<size_t>(signature.out[0].shape.elements());
  return {
      .run = [&comm, n](Stream& stream, const Args& args) { TreeAllReduce::gather(comm, args.out[0].as(), n, stream); },
      .capturable = comm.capturable()};
}

std::optional<Traffic> GatherOwnedOp::traffic(const Signature&, const Mesh& mesh, Numerics) const {
  return Traffic{"parameters",
                 {0},
                 TreeAllReduce::sent_to_gather(mesh.data_ranks(), mesh.data_rank(), static_cast<size_t>(floats)),
                 TreeAllReduce::exchanges_of_half(mesh.data_ranks())};
}

}  // namespace lockstep
