// Runs a planned step again and again on one rank. Used by that rank's thread only; allocates nothing in a step.
#pragma once

#include <memory>

#include "core/backend.h"
#include "core/plan/step_plan.h"

namespace lockstep {

/// The memory of what outlives a plan: parameters, states and the optimizer's slots, shared by the plans of one rank
/// (training, evaluation).
struct VariableMemory {
  Arena parameters, states, slots;
  size_t bytes() const { return parameters.bytes() + states.bytes() + slots.bytes(); }
};

/// What each node of a plan took, by node: seconds, waiting for its stream included, and how often it ran.
struct NodeTimes {
  PerNode<double> seconds;
  PerNode<int64_t> runs;
};

class Executor {
 public:
  /// Allocates the plan's arenas. `variables` must be as large as the plan says; they and the backend outlive the
  /// executor.
  Executor(StepPlan plan, Backend& backend, VariableMemory& variables);
  /// Bytes that the constructor allocates.
  static size_t bytes(const StepPlan& plan);

  const StepPlan& plan() const { return plan_; }
  /// Where the value lies; for Role::lane_input and Role::output that of lane `lane` (index in this rank).
  Tensor tensor(Value value, int lane = 0) const;
  /// The whole of a region that the executor owns: all lanes of it.
  std::span<std::byte> region(Region region) const;
  /// The stream of the kernels.
  Stream& stream() { return *streams_[0]; }
  /// Must be called after parameters were written by anyone but this executor's own nodes.
  void parameters_changed() { stale_ = true; }
  /// Enqueues all nodes for all lanes, then what follows. On a device the first step is enqueued node by node, so that
  /// libraries load what they need; later ones replay its record where all kernels allow it.
  void enqueue();
  /// The same; returns when all is done.
  void run();
  /// From now on every step is enqueued node by node.
  void never_replay() { capturable_ = false; }
  /// From now on `enqueue` checks every floating-point output right after its node and throws Error that names the
  /// first node with a NaN or infinity.
  void check_finite(bool on) { check_finite_ = on; }
  /// From now on `enqueue` waits for every node and adds its time to `times`, which must outlive the executor; null: no
  /// more.
  void time_nodes(NodeTimes* times);

 private:
  struct Bound {
    std::vector<Tensor> in, out;
    Args args;
  };
  /// Work that others may wait for, and the step whose work it was: what a step before has done, its end has joined.
  struct Mark {
    std::unique_ptr<Event> event;
    int64_t step = -1;
  };
  struct Planned {
    std::unique_ptr<Event> ready;  // of a node beside the kernels: those before it are done
    std::vector<Mark> done;        // the same, by lane in flight: it is done itself
    std::vector<Bound> bound;      // by lane; one where it runs once a step
  };
  void record(Stream& stream, Mark& mark);
  void wait(Stream& stream, const Mark& mark);
  std::byte* address(const Location& location, int lane) const;
  Bound bind(const Entry& entry, int lane) const;
  void prepare();
  void enqueue_step(bool prepares);
  /// Lets the kernels' stream wait for all that this step has on the queue.
  void wait_for(Queue queue);
  void run_turn(const Turn& turn);
  void run_entry(const Entry& entry, int lane);
  const Arena& arena(Region region) const { return arenas_[static_cast<size_t>(region)]; }
  void run_timed(const Kernel& kernel, Stream& stream, const Args& args, int node);
  size_t slot(int lane) const { return static_cast<size_t>(lane) % static_cast<size_t>(plan_.in_flight); }
  Stream& on(Queue queue) { return *streams_[static_cast<size_t>(queue)]; }
  void check(const Node& node, const Bound& bound, int lane) const;

  StepPlan plan_;
  Backend& backend_;
  VariableMemory& variables_;
  std::array<Arena, region_count> arenas_;                    // see arena()
  std::array<std::unique_ptr<Stream>, queue_count> streams_;  // of the queues that nodes use
  std::array<Mark, queue_count> streams_done_;                // beside Compute
  PerNode<Planned> nodes_;
  int64_t step_ = 0;                         // that is being enqueued
  std::array<int64_t, queue_count> used_{};  // by queue: the last step with work on it
  bool stale_ = true;
  bool check_finite_ = false;
  NodeTimes* times_ = nullptr;
  bool capturable_ = true, begun_ = false;
  std::function<void()> replay_[2];  // without and with `prepare`
};

}  // namespace lockstep
