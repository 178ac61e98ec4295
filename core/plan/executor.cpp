#include "core/plan/executor.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace lockstep {

namespace {

size_t copies(Region region, int lanes) {
  switch (region) {
    case Region::LaneInput:
    case Region::Output:
      return static_cast<size_t>(lanes);
    case Region::Sum:
      return static_cast<size_t>(slot_count(lanes));
    default:
      return 1;
  }
}

bool outlives_plan(Region region) {
  return region == Region::Parameter || region == Region::State || region == Region::Slot;
}

}  // namespace

Executor::Executor(StepPlan plan, Backend& backend, VariableMemory& variables)
    : plan_(std::move(plan)),
      variables_(variables),
      compute_(backend.compute_stream()),
      side_(backend.side_stream()) {
  auto& bytes = plan_.memory.bytes;
  // Total is the memory of Sum's first slot.
  size_t& sum = plan_.memory.size(Region::Sum);
  sum = std::max(sum, plan_.memory.size(Region::Total));
  for (size_t i = 0; i < region_count; ++i) {
    const auto region = static_cast<Region>(i);
    if (region != Region::Total && !outlives_plan(region))
      arenas_[i] = Arena(backend, bytes[i] * copies(region, plan_.lanes));
  }
  const auto& nodes = plan_.graph.nodes();
  ready_.resize(nodes.size());
  done_.resize(nodes.size());
  bound_.resize(nodes.size());
  waits_.resize(nodes.size());
  for (const Entry& entry : plan_.order) {
    const auto index = static_cast<size_t>(entry.node);
    const Node& node = nodes[index];
    if (node.op->collective()) {
      ready_[index] = backend.event();
      done_[index] = backend.event();
    }
    const int lanes = entry.when == When::EachLane ? plan_.lanes : 1;
    for (int lane = 0; lane < lanes; ++lane) bound_[index].push_back(bind(node, index, lane, entry.when));
    for (Bound& bound : bound_[index]) {  // the spans point into the vectors, which stay where they are from here on
      bound.args.in = bound.in;
      bound.args.out = bound.out;
    }
    for (Value v : node.in) {
      const int producer = plan_.graph.info(v).producer;
      if (producer >= 0 && nodes[static_cast<size_t>(producer)].op->collective() &&
          std::ranges::find(waits_[index], producer) == waits_[index].end())
        waits_[index].push_back(producer);
    }
  }
}

std::byte* Executor::address(const Location& location, int lane) const {
  const auto at = static_cast<size_t>(location.region);
  const size_t offset = location.offset;
  const size_t region_bytes = plan_.memory.bytes[at];
  switch (location.region) {
    case Region::Parameter:
      return variables_.parameters.data() + offset;
    case Region::State:
      return variables_.states.data() + offset;
    case Region::Slot:
      return variables_.slots.data() + offset;
    case Region::LaneInput:
    case Region::Output:
      return arenas_[at].data() + offset + static_cast<size_t>(lane) * region_bytes;
    case Region::Sum:
      return arenas_[at].data() + offset + static_cast<size_t>(slot_of_lane(lane)) * region_bytes;
    case Region::Total:
      return arenas_[static_cast<size_t>(Region::Sum)].data() + offset;
    default:
      return arenas_[at].data() + offset;
  }
}

Tensor Executor::tensor(Value value, int lane) const {
  const auto id = static_cast<size_t>(value.id);
  return {address(plan_.memory.values[id], lane), plan_.local[id]};
}

Executor::Bound Executor::bind(const Node& node, size_t index, int lane, When when) const {
  // The last lane's sum ends in the first slot: that is what a collective reads.
  const int seen = when == When::EachLane ? lane : 0;
  Bound bound;
  for (Value v : node.in) bound.in.push_back(tensor(v, seen));
  for (Value v : node.out) bound.out.push_back(tensor(v, seen));
  bound.args.workspace = arenas_[static_cast<size_t>(Region::Arena)].data() + plan_.memory.workspace[index];
  bound.args.packed = arenas_[static_cast<size_t>(Region::Packed)].data() + plan_.memory.packed[index];
  bound.args.lane = lane;
  bound.args.slot_bytes = plan_.memory.size(Region::Sum);
  return bound;
}

void Executor::prepare() {
  for (const Entry& entry : plan_.order) {
    const auto index = static_cast<size_t>(entry.node);
    if (plan_.kernels[index].prepare) plan_.kernels[index].prepare(*compute_, bound_[index][0].args);
  }
}

void Executor::run_entry(const Entry& entry, int lane) {
  const auto index = static_cast<size_t>(entry.node);
  const Kernel& kernel = plan_.kernels[index];
  if (!kernel.run) return;
  const Bound& bound = bound_[index][entry.when == When::EachLane ? static_cast<size_t>(lane) : 0];
  const bool collective = ready_[index] != nullptr;
  Stream& stream = collective ? *side_ : *compute_;
  for (int producer : waits_[index]) stream.wait(*done_[static_cast<size_t>(producer)]);
  if (collective) {
    compute_->record(*ready_[index]);
    stream.wait(*ready_[index]);
  }
  kernel.run(stream, bound.args);
  if (collective) stream.record(*done_[index]);
  if (check_finite_) {
    stream.synchronize();
    check(plan_.graph.nodes()[index], bound, lane);
  }
}

void Executor::run() {
  if (stale_) prepare();
  stale_ = std::ranges::any_of(plan_.order, [](const Entry& e) { return e.when == When::AfterLanes; });
  for (int lane = 0; lane < plan_.lanes; ++lane)
    for (const Entry& entry : plan_.order)
      if (entry.when == When::EachLane || (entry.when == When::LastLane && lane == plan_.lanes - 1))
        run_entry(entry, lane);
  for (const Entry& entry : plan_.order)
    if (entry.when == When::AfterLanes) run_entry(entry, plan_.lanes - 1);
  compute_->synchronize();
  side_->synchronize();
}

void Executor::check(const Node& node, const Bound& bound, int lane) const {
  for (const Tensor& out : bound.out) {
    if (out.type.dtype != DType::f32) continue;
    const float* data = out.as();
    for (int64_t i = 0; i < out.elements(); ++i)
      if (!std::isfinite(data[i]))
        throw Error("node '{}' ({}) yields {} at element {} of {}, lane {} of this rank", node.name, node.op->name(),
                    data[i], i, out.type.str(), lane);
  }
}

}  // namespace lockstep
