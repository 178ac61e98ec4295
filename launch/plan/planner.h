// What the plans of training, evaluation and prediction share: a network's graph on its way through the passes. One
// rank's thread.
#pragma once

#include "launch/plan/passes.h"
#include "launch/plan/step.h"
#include "parallel/placement/propagate.h"

namespace lockstep {

/// Lanes of the whole mesh, which has so many ranks along its first axis.
int lanes_of(const StepOptions& options, int data_ranks);
/// The mesh's strategy for a step of so many lanes.
Strategy over_lanes(const Mesh& mesh, int lanes);
/// The fuse pass, as the strategy allows it; batch norms are split where it cuts images; then each node gets its stage.
/// Returns what fuse does.
std::map<std::string, std::string> fuse_for(const Strategy& strategy, Graph& graph, std::span<const Value> keep);
/// The batch is cut into lanes; where else images and labels lie is for their readers to say.
PlacementRequest request_of(const Graph& graph, const Mesh& mesh);

/// A network's forward graph being turned into a plan.
class Planner {
 public:
  Planner(const Network& network, const StepOptions& options, const StepTarget& target, bool training);

  Graph& graph() { return built_.graph; }
  void passed(PassName pass) const;
  const Type& placed_type(Value value) const { return placed_.graph.type(value); }
  const Built& built() const { return built_; }

  /// Where `scaled`, with the loss scale, which the gradient is multiplied by.
  void add_loss(bool scaled);
  /// The loss and the metrics' tallies.
  std::vector<Value> results() const;

  /// What the network's last operator takes, which must be the loss' end.
  Value taken_by_end();
  /// The value itself where it is f32.
  Value f32(Value value);

  /// Cuts the graph into lanes, and each lane's work as the strategy says; `sums` are to be reduced, `whole` to be held
  /// by every member. Where they are comes back in the same order.
  std::vector<Value> place(std::vector<PlacementRequest::Sum> sums, const std::vector<Value>& whole = {});
  /// A value whose nodes run once a lane becomes an output of the step.
  void keep(Value output);
  /// Whether this rank's stage makes the value.
  bool here(Value value) const { return placed_.graph.info(value).producer >= 0; }
  /// The sums that every rank is to know, which the last stage makes.
  void share_results(std::vector<Value> totals);
  /// After the lanes, before anything that all stages exchange.
  void end_pipeline();
  void fuse_nodes(const std::vector<Value>& keep) { fuse_for(target_.mesh.strategy(), graph(), keep); }

  std::vector<Bucket> reduce(const FixedLocations& sums, size_t gradient_bytes);

  /// A flat range of a kept region, as a value.
  Value range(const std::string& name, int64_t floats, Role role, Location location);

  /// A node that runs once a step, after the reductions that it reads.
  std::vector<Value> after_lanes(const std::string& name, std::shared_ptr<const Op> op, std::vector<Value> in);

  /// The same, with outputs where `in_place` lie.
  std::vector<Value> update(const std::string& name, std::shared_ptr<const Op> op, std::vector<Value> in,
                            const std::vector<Value>& in_place);

  bool shards_optimizer() const { return target_.mesh.strategy().shard_optimizer && target_.mesh.data_ranks() > 1; }
  /// Whether ranks hold different gradients at a step's end.
  bool gradients_differ() const { return shards_optimizer() || !target_.layout.shards.empty(); }
  /// What each rank along the first axis keeps of the optimizer's variables.
  OwnedRanges owned(const std::vector<Bucket>& buckets) const;
  int data_rank() const { return target_.mesh.data_rank(); }
  int data_ranks() const { return target_.mesh.data_ranks(); }

  /// The loss scale, where there is one.
  Value scale() const { return scale_; }

  /// The placed graph's StepState; the optimizer reads it, so it exists in training.
  Value step_state();

  void fix(Value value, Location location) { fixed_[value] = location; }

  void fix_variables();

  Step finish();

  Step& step() { return step_; }

 private:
  /// Whether forward and backward have turns of their own.
  bool phased() const { return training_ && target_.mesh.strategy().stages() > 1; }
  bool is_variable(Value value) const {
    const Role role = built_.graph.info(value).role;
    return role == Role::parameter || role == Role::state;
  }
  /// New values of the placed graph are replicated.
  void extend();

  StepOptions options_;
  StepTarget target_;
  int lanes_;
  bool training_;
  Built built_;
  PlacedGraph placed_;
  FixedLocations fixed_;
  size_t largest_ = 0;
  Value scale_;
  Step step_;
};

}  // namespace lockstep
