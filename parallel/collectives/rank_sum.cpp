#include "parallel/collectives/rank_sum.h"

#include <algorithm>

#include "parallel/reduction/ordered_reduce.h"

namespace lockstep {

Kernel RankSumOp::make(const Signature& signature, MeshContext& context) const {
  const Mesh& mesh = context.mesh;
  const auto n = static_cast<size_t>(signature.in[0].shape.elements());
  size_t scratch = 0;
  for (size_t axis : axes) scratch = std::max(scratch, ordered_scratch(mesh.along(axis).size(), DType::f32, n));
  return {.workspace = scratch,
          .run =
              [&mesh, n, axes = axes](Stream& stream, const Args& args) {
                stream.copy(args.out[0].data, args.in[0].data, n * sizeof(float));
                for (size_t axis : axes)
                  ordered_all_reduce(mesh.along(axis), DType::f32, args.out[0].data, n, args.workspace, stream);
              },
          .capturable = mesh.world().capturable()};
}

std::optional<Traffic> RankSumOp::traffic(const Signature& signature, const Mesh& mesh, Numerics) const {
  const auto n = static_cast<size_t>(signature.in[0].shape.elements());
  Traffic traffic{what};
  for (size_t axis : axes) {
    const Communicator& comm = mesh.along(axis);
    traffic.axes.push_back(static_cast<int>(axis));
    traffic.bytes += ordered_sent(comm.size(), comm.rank(), DType::f32, n);
    traffic.times += ordered_exchanges(comm.size(), DType::f32, n);
  }
  return traffic;
}

}  // namespace lockstep
