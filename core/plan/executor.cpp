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
    case Region::lane_input:
    case Region::output:
      return static_cast<size_t>(lanes);
    case Region::sum:
      return static_cast<size_t>(slot_count(lanes));
    case Region::stash:
      return static_cast<size_t>(in_flight);
    default:
      return 1;
  }
}

bool outlives_plan(Region region) {
  return region == Region::parameter || region == Region::state || region == Region::slot;
}

/// What an executor allocates for the region, all lanes.
size_t owned_bytes(const StepPlan& plan, Region region) {
  if (region == Region::total || outlives_plan(region)) return 0;
  size_t bytes = plan.memory.size(region);
  if (region == Region::sum) bytes = std::max(bytes, plan.memory.size(Region::total));
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

}  // namespace

Executor::Executor(StepPlan plan, Backend& backend, VariableMemory& variables)
    : plan_(std::move(plan)), backend_(backend), variables_(variables) {
  streams_[0] = backend.compute_stream();
  // Total is the memory of Sum's first slot.
  size_t& sum = plan_.memory.size(Region::sum);
  sum = std::max(sum, plan_.memory.size(Region::total));
  for (size_t i = 0; i < region_count; ++i) arenas_[i] = Arena(backend, owned_bytes(plan_, static_cast<Region>(i)));
  nodes_ = PerNode<Planned>(plan_.graph.nodes().size());
  for (const Entry& entry : plan_.order) {
    Planned& planned = nodes_[entry.node];
    if (const NodeSync& sync = plan_.sync.nodes[entry.node]; sync.beside()) {
      const auto queue = static_cast<size_t>(sync.queue);
      if (!streams_[queue]) {
        streams_[queue] = backend.side_stream();
        streams_done_[queue] = {streams_[queue]->event()};
      }
      planned.ready = stream().event();
      for (int lane = 0; lane < plan_.in_flight; ++lane) planned.done.push_back({streams_[queue]->event()});
    }
    if (!plan_.kernels[entry.node].capturable) capturable_ = false;
    const int lanes = entry.when == When::each_lane ? plan_.lanes : 1;
    for (int lane = 0; lane < lanes; ++lane) planned.bound.push_back(bind(entry, lane));
    for (Bound& bound : planned.bound) {  // the spans point into the vectors, which stay where they are from here on
      bound.args.in = bound.in;
      bound.args.out = bound.out;
    }
  }
}

std::byte* Executor::address(const Location& location, int lane) const {
  const size_t offset = location.offset, region_bytes = plan_.memory.size(location.region);
  switch (location.region) {
    case Region::parameter:
      return variables_.parameters.data() + offset;
    case Region::state:
      return variables_.states.data() + offset;
    case Region::slot:
      return variables_.slots.data() + offset;
    case Region::lane_input:
    case Region::output:
      return arena(location.region).data() + offset + static_cast<size_t>(lane) * region_bytes;
    case Region::sum:
      return arena(location.region).data() + offset + static_cast<size_t>(slot_of_lane(lane)) * region_bytes;
    case Region::stash:
      return arena(location.region).data() + offset + slot(lane) * region_bytes;
    case Region::total:
      return arena(Region::sum).data() + offset;
    default:
      return arena(location.region).data() + offset;
  }
}

size_t Executor::bytes(const StepPlan& plan) {
  size_t sum = 0;
  for (size_t i = 0; i < region_count; ++i) sum += owned_bytes(plan, static_cast<Region>(i));
  return sum;
}

std::span<std::byte> Executor::region(Region region) const { return {arena(region).data(), arena(region).bytes()}; }

Tensor Executor::tensor(Value value, int lane) const {
  return {address(plan_.memory.values[value], lane), plan_.local[value]};
}

Executor::Bound Executor::bind(const Entry& entry, int lane) const {
  const Node& node = plan_.graph.node(entry.node);
  // The last lane's sum ends in the first slot: that is what a collective reads.
  const int seen = entry.when == When::each_lane ? lane : 0;
  Bound bound;
  for (Value v : node.in) bound.in.push_back(tensor(v, seen));
  for (Value v : node.out) bound.out.push_back(tensor(v, seen));
  bound.args.workspace = arena(Region::arena).data() + plan_.memory.nodes[entry.node].workspace;
  bound.args.packed = arena(Region::packed).data() + plan_.memory.nodes[entry.node].packed;
  bound.args.lane = lane;
  bound.args.slot_bytes = plan_.memory.size(Region::sum);
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
    const Kernel& kernel = plan_.kernels[entry.node];
    if (kernel.prepare) kernel.prepare(stream(), nodes_[entry.node].bound[0].args);
  }
}

void Executor::run_entry(const Entry& entry, int lane) {
  const Kernel& kernel = plan_.kernels[entry.node];
  Planned& planned = nodes_[entry.node];
  const NodeSync& sync = plan_.sync.nodes[entry.node];
  const Bound& bound = planned.bound[entry.when == When::each_lane ? static_cast<size_t>(lane) : 0];
  Stream& stream = on(sync.queue);
  for (int producer : sync.read_after_write) wait(stream, nodes_[producer].done[slot(lane)]);
  if (!kernel.run) return;  // a view, whose readers wait by it
  for (int sender : sync.write_after_read) wait(stream, nodes_[sender].done[slot(lane)]);
  if (sync.beside()) {
    on(Queue::compute).record(*planned.ready);
    stream.wait(*planned.ready);
    used_[static_cast<size_t>(sync.queue)] = step_;
  }
  if (sync.after_exchanges) wait_for(Queue::exchange);
  if (times_)
    run_timed(kernel, stream, bound.args, entry.node);
  else
    kernel.run(stream, bound.args);
  if (sync.beside()) record(stream, planned.done[slot(lane)]);
  if (check_finite_ && !bound.out.empty()) {
    stream.synchronize();
    check(plan_.graph.node(entry.node), bound, lane);
  }
}

void Executor::run_timed(const Kernel& kernel, Stream& stream, const Args& args, int node) {
  const auto begin = std::chrono::steady_clock::now();
  kernel.run(stream, args);
  stream.synchronize();
  times_->seconds[node] += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  ++times_->runs[node];
}

void Executor::time_nodes(NodeTimes* times) {
  times_ = times;
  if (!times) return;
  const size_t count = plan_.graph.nodes().size();
  if (times->runs.size() != count) *times = {PerNode<double>(count), PerNode<int64_t>(count)};
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
        (entry.when == When::each_lane || (entry.when == When::last_lane && turn.lane == plan_.lanes - 1)))
      run_entry(entry, turn.lane);
  // The next turn may use the memory again that these read.
  for (const int exchange : plan_.sync.dangling) wait(stream(), nodes_[exchange].done[slot(turn.lane)]);
}

void Executor::enqueue_step(bool prepares) {
  ++step_;
  if (prepares) prepare();
  for (const Turn& turn : plan_.turns) run_turn(turn);
  for (const Queue queue : plan_.sync.before_update) wait_for(queue);
  for (const Entry& entry : plan_.order)
    if (entry.when == When::after_lanes) run_entry(entry, plan_.lanes - 1);
  // Who waits for the compute stream waits for all: also for what no node reads.
  for (const Queue queue : plan_.sync.at_end) wait_for(queue);
}

void Executor::enqueue() {
  const bool prepares = stale_;
  stale_ = std::ranges::any_of(plan_.order, [](const Entry& e) { return e.when == When::after_lanes; });
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
