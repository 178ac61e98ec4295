#include "core/plan/executor.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace lockstep {

namespace {

size_t copies(Region region, int lanes, int in_flight) {
  switch (region) {
    case Region::LaneInput:
    case Region::Output:
      return static_cast<size_t>(lanes);
    case Region::Sum:
      return static_cast<size_t>(slot_count(lanes));
    case Region::Stash:
      return static_cast<size_t>(in_flight);
    default:
      return 1;
  }
}

bool outlives_plan(Region region) {
  return region == Region::Parameter || region == Region::State || region == Region::Slot;
}

/// What an executor allocates for the region, all lanes.
size_t owned_bytes(const StepPlan& plan, Region region) {
  if (region == Region::Total || outlives_plan(region)) return 0;
  size_t bytes = plan.memory.size(region);
  if (region == Region::Sum) bytes = std::max(bytes, plan.memory.size(Region::Total));
  return bytes * copies(region, plan.lanes, plan.in_flight);
}

/// "nan", "inf" or "-inf" where the element of a floating-point type is one of them, else empty.
std::string_view not_finite(const std::byte* element, DType dtype) {
  uint32_t bits = 0;
  std::memcpy(&bits, element, size_of(dtype));
  const uint32_t infinity = dtype == DType::f32 ? 0x7F800000 : dtype == DType::f16 ? 0x7C00 : 0x7F80;
  const uint32_t sign = dtype == DType::f32 ? 0x80000000 : 0x8000;
  if ((bits & infinity) != infinity) return {};
  if ((bits & ~sign) != infinity) return "nan";
  return bits & sign ? "-inf" : "inf";
}

/// The stream of each node: as its operator says, but for exchanges that have no kernel to run beside them, before the
/// first that waits for them: those are the kernels' stream's.
std::vector<Queue> queues_of(const StepPlan& plan) {
  const auto& nodes = plan.graph.nodes();
  std::vector<Queue> queues;
  for (const Node& node : nodes) queues.push_back(node.op->queue());
  for (size_t at = 0; at < plan.order.size(); ++at) {
    const auto exchange = static_cast<size_t>(plan.order[at].node);
    if (nodes[exchange].op->queue() != Queue::Exchange) continue;
    std::vector<Value> awaited = nodes[exchange].out;
    for (size_t next = at + 1; next < plan.order.size() && plan.order[next].phase == plan.order[at].phase; ++next) {
      const Node& node = nodes[static_cast<size_t>(plan.order[next].node)];
      const bool waits =
          std::ranges::any_of(node.in, [&](Value v) { return std::ranges::find(awaited, v) != awaited.end(); });
      if (node.op->queue() == Queue::Exchange || node.op->reuse() == Reuse::View) {
        if (waits) awaited.insert(awaited.end(), node.out.begin(), node.out.end());
        continue;
      }
      if (waits) queues[exchange] = Queue::Compute;
      break;
    }
  }
  return queues;
}

}  // namespace

Executor::Executor(StepPlan plan, Backend& backend, VariableMemory& variables)
    : plan_(std::move(plan)), backend_(backend), variables_(variables) {
  streams_[0] = backend.compute_stream();
  // Total is the memory of Sum's first slot.
  size_t& sum = plan_.memory.size(Region::Sum);
  sum = std::max(sum, plan_.memory.size(Region::Total));
  for (size_t i = 0; i < region_count; ++i) arenas_[i] = Arena(backend, owned_bytes(plan_, static_cast<Region>(i)));
  const auto& nodes = plan_.graph.nodes();
  ready_.resize(nodes.size());
  done_.resize(nodes.size());
  bound_.resize(nodes.size());
  waits_.resize(nodes.size());
  overtakes_.resize(nodes.size());
  queues_ = queues_of(plan_);
  for (const Entry& entry : plan_.order) {
    const auto index = static_cast<size_t>(entry.node);
    const Node& node = nodes[index];
    if (queues_[index] != Queue::Compute) {
      const auto queue = static_cast<size_t>(queues_[index]);
      if (!streams_[queue]) {
        streams_[queue] = backend.side_stream();
        streams_done_[queue] = {streams_[queue]->event()};
      }
      ready_[index] = stream().event();
      for (int lane = 0; lane < plan_.in_flight; ++lane) done_[index].push_back({streams_[queue]->event()});
    }
    if (!plan_.kernels[index].capturable) capturable_ = false;
    const int lanes = entry.when == When::EachLane ? plan_.lanes : 1;
    for (int lane = 0; lane < lanes; ++lane) bound_[index].push_back(bind(node, index, lane, entry.when));
    for (Bound& bound : bound_[index]) {  // the spans point into the vectors, which stay where they are from here on
      bound.args.in = bound.in;
      bound.args.out = bound.out;
    }
    const auto beside = [&](int other) { return other >= 0 && queues_[static_cast<size_t>(other)] != Queue::Compute; };
    const auto add = [](std::vector<int>& to, int other) {
      if (std::ranges::find(to, other) == to.end()) to.push_back(other);
    };
    for (Value v : node.in)
      if (const int producer = plan_.graph.info(v).producer; beside(producer)) add(waits_[index], producer);
    if (queues_[index] == Queue::Exchange &&
        std::ranges::all_of(node.out, [&](Value v) { return plan_.graph.readers(v).empty(); }))
      unread_.push_back(entry.node);
    if (beside(entry.node)) continue;
    for (Value v : node.out)
      for (const int reader : plan_.graph.readers(v))
        if (leaves(*nodes[static_cast<size_t>(reader)].op)) add(overtakes_[index], reader);
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
    case Region::Stash:
      return arenas_[at].data() + offset + slot(lane) * region_bytes;
    case Region::Total:
      return arenas_[static_cast<size_t>(Region::Sum)].data() + offset;
    default:
      return arenas_[at].data() + offset;
  }
}

size_t Executor::bytes(const StepPlan& plan) {
  size_t sum = 0;
  for (size_t i = 0; i < region_count; ++i) sum += owned_bytes(plan, static_cast<Region>(i));
  return sum;
}

std::span<std::byte> Executor::region(Region region) const {
  const Arena& arena = arenas_[static_cast<size_t>(region)];
  return {arena.data(), arena.bytes()};
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

void Executor::record(Stream& stream, Mark& mark) {
  stream.record(*mark.event);
  mark.step = step_;
}

void Executor::wait(Stream& stream, const Mark& mark) {
  // A stream that is being recorded must not wait for what was enqueued before.
  if (mark.step == step_) stream.wait(*mark.event);
}

void Executor::prepare() {
  for (const Entry& entry : plan_.order) {
    const auto index = static_cast<size_t>(entry.node);
    if (plan_.kernels[index].prepare) plan_.kernels[index].prepare(stream(), bound_[index][0].args);
  }
}

void Executor::run_entry(const Entry& entry, int lane) {
  const auto index = static_cast<size_t>(entry.node);
  const Kernel& kernel = plan_.kernels[index];
  const Bound& bound = bound_[index][entry.when == When::EachLane ? static_cast<size_t>(lane) : 0];
  Stream& stream = on(queues_[index]);
  const bool beside = ready_[index] != nullptr;
  for (int producer : waits_[index]) wait(stream, done_[static_cast<size_t>(producer)][slot(lane)]);
  if (!kernel.run) return;  // a view, whose readers wait by it
  for (int sender : overtakes_[index]) wait(stream, done_[static_cast<size_t>(sender)][slot(lane)]);
  if (beside) {
    on(Queue::Compute).record(*ready_[index]);
    stream.wait(*ready_[index]);
    used_[static_cast<size_t>(queues_[index])] = step_;
  }
  if (!beside && plan_.graph.nodes()[index].op->queue() == Queue::Exchange) wait_for(Queue::Exchange);
  if (times_)
    run_timed(kernel, stream, bound.args, index);
  else
    kernel.run(stream, bound.args);
  if (beside) record(stream, done_[index][slot(lane)]);
  if (check_finite_ && !bound.out.empty()) {
    stream.synchronize();
    check(plan_.graph.nodes()[index], bound, lane);
  }
}

void Executor::run_timed(const Kernel& kernel, Stream& stream, const Args& args, size_t index) {
  const auto begin = std::chrono::steady_clock::now();
  kernel.run(stream, args);
  stream.synchronize();
  times_->seconds[index] += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  ++times_->runs[index];
}

void Executor::time_nodes(NodeTimes* times) {
  times_ = times;
  if (!times) return;
  times->seconds.resize(plan_.graph.nodes().size());
  times->runs.resize(times->seconds.size());
}

void Executor::wait_for(Queue queue) {
  const auto index = static_cast<size_t>(queue);
  if (used_[index] != step_) return;
  record(*streams_[index], streams_done_[index]);
  wait(stream(), streams_done_[index]);
}

void Executor::run_turn(const Turn& turn) {
  for (const Entry& entry : plan_.order)
    if (entry.phase == turn.phase &&
        (entry.when == When::EachLane || (entry.when == When::LastLane && turn.lane == plan_.lanes - 1)))
      run_entry(entry, turn.lane);
  // The next turn may use the memory again that these read.
  for (const int exchange : unread_) wait(stream(), done_[static_cast<size_t>(exchange)][slot(turn.lane)]);
}

void Executor::enqueue_step(bool prepares) {
  ++step_;
  if (prepares) prepare();
  for (const Turn& turn : plan_.turns) run_turn(turn);
  for (size_t queue = 1; queue < queue_count; ++queue) {
    // What nodes after the lanes exchange must not meet what a stage still sends.
    if (static_cast<Queue>(queue) != Queue::Side) wait_for(static_cast<Queue>(queue));
  }
  for (const Entry& entry : plan_.order)
    if (entry.when == When::AfterLanes) run_entry(entry, plan_.lanes - 1);
  // Who waits for the compute stream waits for all: also for what no node reads.
  for (size_t queue = 1; queue < queue_count; ++queue) wait_for(static_cast<Queue>(queue));
}

void Executor::enqueue() {
  const bool prepares = stale_;
  stale_ = std::ranges::any_of(plan_.order, [](const Entry& e) { return e.when == When::AfterLanes; });
  if (check_finite_ || times_ || !capturable_ || !std::exchange(begun_, true)) return enqueue_step(prepares);
  auto& replay = replay_[prepares];
  if (!replay) replay = backend_.capture(stream(), [this, prepares] { enqueue_step(prepares); });
  replay();
}

void Executor::run() {
  enqueue();
  stream().synchronize();
}

void Executor::check(const Node& node, const Bound& bound, int lane) const {
  for (const Tensor& out : bound.out) {
    const DType dtype = out.type.dtype;
    if (!is_float(dtype)) continue;
    std::vector<std::byte> data(out.type.bytes());
    backend_.copy(data.data(), out.data, data.size());
    for (int64_t i = 0; i < out.elements(); ++i)
      if (const auto found = not_finite(data.data() + static_cast<size_t>(i) * size_of(dtype), dtype); !found.empty())
        throw Error("node '{}' ({}) yields {} at element {} of {}, lane {} of this rank", node.name, node.op->name(),
                    found, i, out.type.str(), lane);
  }
}

}  // namespace lockstep
