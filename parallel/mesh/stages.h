// Which stage of a pipeline has which layers. Pure functions: any thread.
#pragma once

#include <limits>

#include "core/plan/schedule.h"
#include "parallel/mesh/strategy.h"

namespace lockstep {

/// Gives each layer that computes something in `forward`, a network's graph in training, a stage: where the strategy
/// pins stages, layers that no pin speaks of are on the last stage that they read from; where it pins none, consecutive
/// layers are shared out so that the busiest stage has as little estimated work as can be (see work_of). A node of
/// `taken` is computed as a part of another, by their names, and its layer is on that one's stage.
/// Throws InputError where there are more stages than such layers, a pin names a stage that is not there, a stage gets
/// no layer, a layer would read from a later stage, or a pin says of a layer that is part of another's operator what
/// none says of that.
std::map<std::string, int> place_layers(const Graph& forward, std::span<const std::string> layers,
                                        const Strategy& strategy, const std::map<std::string, std::string>& taken = {});

/// Sets the stage of each node of a forward graph, as `strategy.layer_stages` says; what belongs to no layer goes where
/// its inputs are made, and what has a stage other than 0 keeps it.
void assign_stages(Graph& forward, const Strategy& strategy);

/// An estimate of a node's work, in multiply-adds: its operator's own, and ten for each byte that it reads or writes.
double work_of(const Graph& graph, const Node& node);
/// The sum over each stage's layers.
std::vector<double> work_by_stage(const Graph& forward, const Strategy& strategy);

/// When a stage does what, over `lanes` lanes. Each rank runs its turns in this order.
std::vector<Turn> turns_of(PipelineSchedule schedule, int stage, int stages, int lanes);
/// Lanes in flight at most.
int lanes_in_flight(const std::vector<Turn>& turns);

/// What one lane costs a stage, in any unit of time.
struct StageCost {
  double work = 0;                      // of the forward part; the backward part takes twice that
  double to_next = 0, to_previous = 0;  // until the stage after has the output, the one before the gradient
};

/// The time from the first turn's begin to the last one's end. Where more than `at_once` stages have work, they share
/// what so many would have.
double makespan(PipelineSchedule schedule, std::span<const StageCost> stages, int lanes,
                double at_once = std::numeric_limits<double>::infinity());

/// The share of its time in which the average stage waits, when stage s takes work[s] for a lane's forward part and
/// twice that for the backward part, and sending takes no time.
double bubble_share(PipelineSchedule schedule, std::span<const double> work, int lanes);

}  // namespace lockstep
