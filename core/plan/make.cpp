#include <algorithm>
#include <bit>

#include "core/error.h"
#include "core/plan/step_plan.h"

namespace lockstep {

int slot_of_lane(int lane) { return std::popcount(static_cast<unsigned>(lane)); }
int slot_count(int lanes) { return std::bit_width(static_cast<unsigned>(std::max(lanes, 1))); }

namespace {

/// Throws where the operator makes something else of its inputs than the placements say.
void check_types(const Signature& signature, const Node& node) {
  if (node.op->moves()) return;
  const auto inferred = node.op->infer(signature.in);
  for (size_t i = 0; i < inferred.size(); ++i)
    if (!(inferred[i] == signature.out[i]))
      throw Error("{}: the placement gives output {} the type {}, the operator {} makes {}", node.name, i,
                  signature.out[i].str(), node.op->name(), inferred[i].str());
}

}  // namespace

Signature StepPlan::signature(const Node& node) const {
  Signature types;
  for (Value v : node.in) types.in.push_back(local[v]);
  for (Value v : node.out) types.out.push_back(local[v]);
  return types;
}

void finish_plan(StepPlan& plan, const KernelTable& kernels, const FixedLocations& fixed) {
  plan.order = schedule(plan.graph, !plan.turns.empty());
  for (int lane = 0; plan.turns.size() < static_cast<size_t>(plan.lanes) && lane < plan.lanes; ++lane)
    plan.turns.push_back({lane, Phase::forward});
  PerNode<NodeMemory> needs;
  plan.kernels = {};
  for (const Node& node : plan.graph.nodes()) {
    const Signature signature = plan.signature(node);
    check_types(signature, node);
    try {
      plan.kernels.push_back(node.op->reuse() == Reuse::view ? Kernel{} : kernels.make(*node.op, signature));
    } catch (const InputError& error) {
      throw InputError("layer '{}': {}", node.name, error.what());
    }
    needs.push_back({plan.kernels.back().workspace, plan.kernels.back().packed});
  }
  plan.memory = plan_memory(plan.graph, plan.local, plan.order, needs, fixed, plan.in_flight);
  plan.sync = synchronise(plan.graph, plan.order);
}

}  // namespace lockstep
