#include "parallel/traffic.h"

#include "parallel/ordered_reduce.h"
#include "parallel/reshard_kernels.h"
#include "parallel/tree_reduce.h"

namespace lockstep {

std::vector<Collective> collectives(const StepPlan& plan, const Mesh& mesh, bool reproducible) {
  std::vector<Collective> all;
  const auto local = [&](Value v) { return plan.local[static_cast<size_t>(v.id)]; };
  for (const Entry& entry : plan.order) {
    const Node& node = plan.graph.nodes()[static_cast<size_t>(entry.node)];
    if (const auto* move = dynamic_cast<const ReshardOp*>(node.op.get())) {
      if (move->from.placement == replicate) continue;
      const Signature signature{{local(node.in[0])}, {local(node.out[0])}};
      all.push_back({node.name,
                     std::string(kind_of(*move)),
                     {move->axis},
                     sent_bytes(*move, signature, mesh.along(static_cast<size_t>(move->axis))) *
                         static_cast<size_t>(plan.lanes)});
    } else if (const auto* sum = dynamic_cast<const AllReduceOp*>(node.op.get())) {
      const auto n = static_cast<size_t>(local(node.in[0]).shape.elements());
      size_t bytes = 0;
      for (int axis : sum->axes) {
        const Communicator& comm = mesh.sums_along(static_cast<size_t>(axis));
        const auto ranks = static_cast<size_t>(comm.size());
        if (axis > 0)
          bytes += ordered_sent(comm.size(), comm.rank(), DType::f32, n);
        else if (reproducible)
          bytes += TreeAllReduce::sent(comm.size(), comm.rank(), n);
        else
          bytes += 2 * n * sizeof(float) * (ranks - 1) / ranks;
      }
      all.push_back({node.name, "sum over the batch", sum->axes, bytes});
    }
  }
  return all;
}

}  // namespace lockstep
