#include "parallel/traffic.h"

#include "parallel/ordered_reduce.h"
#include "parallel/pipeline.h"
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
      all.push_back(
          {node.name,
           std::string(kind_of(*move)),
           {move->axis},
           sent_bytes(*move, signature, mesh.along(static_cast<size_t>(move->axis))) * static_cast<size_t>(plan.lanes),
           static_cast<size_t>(plan.lanes)});
    } else if (const auto* sum = dynamic_cast<const AllReduceOp*>(node.op.get())) {
      auto n = static_cast<size_t>(local(node.in[0]).shape.elements());
      size_t bytes = 0, times = 0;
      for (int axis : sum->axes) {
        const Communicator& comm = mesh.sums_along(static_cast<size_t>(axis));
        const int size = comm.size(), rank = comm.rank();
        if (sum->merge) {
          bytes += sent_whole(size, rank, n);
          times += exchanges_of_whole(size);
        } else if (axis > 0) {
          bytes += ordered_sent(size, rank, DType::f32, n);
          times += ordered_exchanges(size, DType::f32, n);
        } else if (sum->scatter) {
          bytes += TreeAllReduce::sent_to_scatter(size, rank, n);
          times += TreeAllReduce::exchanges_of_half(size);
          n = static_cast<size_t>(TreeAllReduce::owned(size, rank, n).size());
        } else if (reproducible) {
          bytes += TreeAllReduce::sent(size, rank, n);
          times += TreeAllReduce::exchanges(size, n);
        } else {
          bytes += 2 * n * sizeof(float) * static_cast<size_t>(size - 1) / static_cast<size_t>(size);
          times += 2 * TreeAllReduce::exchanges_of_half(size);
        }
      }
      all.push_back({node.name, "sum over the batch", sum->axes, bytes, times});
    } else if (const auto* gather = dynamic_cast<const GatherOwnedOp*>(node.op.get())) {
      all.push_back(
          {node.name,
           "parameters",
           {0},
           TreeAllReduce::sent_to_gather(mesh.data_ranks(), mesh.data_rank(), static_cast<size_t>(gather->floats)),
           TreeAllReduce::exchanges_of_half(mesh.data_ranks())});
    } else if (const auto* send = dynamic_cast<const SendOp*>(node.op.get())) {
      const auto lanes = static_cast<size_t>(plan.lanes);
      all.push_back({node.name,
                     std::string(send->queue() == Queue::Forward ? to_later_stage : to_earlier_stage),
                     {static_cast<int>(mesh.strategy().stage_axis())},
                     local(node.in[0]).bytes() * lanes,
                     lanes});
    } else if (const auto* share = dynamic_cast<const ShareOp*>(node.op.get())) {
      if (share->types.empty()) continue;
      size_t bytes = 0;
      for (const Type& type : share->types) bytes += type.bytes();
      const bool sends = mesh.stage() == share->stage;
      const auto axis = static_cast<int>(mesh.strategy().stage_axis());
      all.push_back(
          {node.name, "results", {axis}, sends ? bytes * static_cast<size_t>(mesh.strategy().stages() - 1) : 0, 1});
    } else if (const auto* few = dynamic_cast<const RankSumOp*>(node.op.get())) {
      const auto n = static_cast<size_t>(local(node.in[0]).shape.elements());
      size_t bytes = 0, times = 0;
      std::vector<int> axes;
      for (size_t axis : few->axes) {
        axes.push_back(static_cast<int>(axis));
        bytes += ordered_sent(mesh.along(axis).size(), mesh.along(axis).rank(), DType::f32, n);
        times += ordered_exchanges(mesh.along(axis).size(), DType::f32, n);
      }
      all.push_back({node.name, few->what, std::move(axes), bytes, times});
    } else if (const auto* blocks = dynamic_cast<const GatherRanksOp*>(node.op.get())) {
      const size_t bytes = local(node.in[0]).bytes() * (blocks->order.size() - 1);
      all.push_back({node.name, blocks->what, {static_cast<int>(blocks->axis)}, bytes, 1});
    }
  }
  return all;
}

}  // namespace lockstep
