#include "parallel/placement/traffic.h"

namespace lockstep {

std::vector<Collective> collectives(const StepPlan& plan, const Mesh& mesh, Numerics numerics) {
  std::vector<Collective> all;
  for (const Entry& entry : plan.order) {
    const Node& node = plan.graph.node(entry.node);
    const auto* op = dynamic_cast<const MeshOp*>(node.op.get());
    if (!op) continue;
    auto traffic = op->traffic(plan.signature(node), mesh, numerics);
    if (!traffic) continue;
    const size_t runs = op->each_lane() ? static_cast<size_t>(plan.lanes) : 1;
    traffic->bytes *= runs;
    traffic->times *= runs;
    all.push_back({*std::move(traffic), node.name});
  }
  return all;
}

}  // namespace lockstep
