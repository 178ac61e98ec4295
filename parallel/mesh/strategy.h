// A strategy: the mesh of ranks, and which work its axes cut. How values lie on the mesh follows from the placements of
// the inputs, the operators' rules and the strategy's pins. Plain data, made once; any thread.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/graph/placement.h"

namespace lockstep {

/// reproducible: the canonical tree over all lanes. fast: one lane a rank, the communicator's own all-reduce.
enum class Numerics : unsigned char { reproducible, fast };

/// "data", "space_h", "space_w", "filter", "channel", "stage": the axes that a mesh can have.
std::vector<std::string> axis_names();
/// "batch", "height", "width", "filters", "channels", by the value of Cut.
std::span<const std::string> cut_names();

/// One axis of the mesh. The first is always "data", over which the batch is cut into lanes: it has a member for each
/// lane, and each rank plays a run of consecutive members. The others have a rank a member.
struct Axis {
  std::string name;
  int64_t size = 1;
  std::optional<Cut> cut = Cut::batch;  // of every layer that no pin speaks of; none: every member computes all of it
};

/// What some layers do along some axes: a cut, or none at all (every member computes the whole). And which stage of a
/// pipeline they are on.
struct Pin {
  std::string layers;                               // a pattern, '*' for any characters: "stage4/*"
  std::map<std::string, std::optional<Cut>> place;  // by axis
  std::optional<int> stage = std::nullopt;
};

/// When a stage runs which micro-batch, which here is a lane.
enum class PipelineSchedule : unsigned char {
  one_f_one_b,  // backward as soon as it can be: few lanes are in flight (Narayanan et al., "PipeDream", SOSP 2019)
  gpipe,        // all forward parts first (Huang et al., "GPipe", NeurIPS 2019)
};

/// "1f1b" and "gpipe". Throws InputError with the nearest name.
PipelineSchedule schedule_from_name(const std::string& name);
const std::vector<std::string>& pipeline_schedule_names();
std::string name_of(PipelineSchedule schedule);

struct Strategy {
  std::vector<Axis> mesh{{"data", 1, Cut::batch}};
  std::vector<Pin> pins;
  std::optional<int64_t> data_ranks;  // as given; none: as many as there are ranks for
  /// Each rank along the first axis keeps and updates its part of the parameters' optimizer variables alone
  /// (Rajbhandari et al., "ZeRO", SC 2020, stage 1).
  bool shard_optimizer = false;
  /// Where a member has as many bytes of an image, rows that need no other rank's are computed while halos travel;
  /// smaller images are computed whole, after their halo.
  size_t overlap_from = size_t{256} << 10;
  PipelineSchedule schedule = PipelineSchedule::one_f_one_b;
  std::map<std::string, int> layer_stages;  // by layer, once `place_layers` has said so; only of a pipeline

  /// The axis "stage" (index), whose members have the layers one after the other; 0 where there is none.
  size_t stage_axis() const;
  /// Its members; 1 where there is none.
  int stages() const { return stage_axis() ? static_cast<int>(mesh[stage_axis()].size) : 1; }

  /// Ranks that share the work on one lane: the product of all axes but the first.
  int64_t ranks_per_lane() const;
  /// The last pin that speaks of the node or layer `name` along the axis (index); null where none does.
  const Pin* pin(const std::string& name, size_t axis) const;
  /// What the node or layer does along the axis: as its pin says, else as the axis.
  std::optional<Cut> cut(const std::string& name, size_t axis) const;
};

/// Whether the pattern matches the name, or the part of it before a '/'.
bool matches(const std::string& pattern, const std::string& name);

/// The layer that a node or value belongs to: the longest name that begins its name; empty where there is none.
std::string layer_of(const std::string& name, std::span<const std::string> layers);

/// Data parallelism over the lanes.
Strategy data_parallel(int64_t lanes);
/// "data", or axes with their sizes, "data=2,space_h=2": data, space_h, space_w, filter, channel, stage, each at most
/// once.
/// Throws InputError that says what was given and what was expected.
Strategy parse_strategy(const std::string& text);
/// Gives "stage=auto" as many members as `ranks` leaves for it; does nothing where the strategy does not say so. Throws
/// InputError where ranks is 0 (unknown), or does not divide by the other axes. With one member there is nothing to
/// share, and pins of stages are dropped.
void resolve_stages(Strategy& strategy, int ranks);
/// Adds an axis with what its name stands for; without a size as resolve_stages will say. Throws InputError where the
/// name is unknown or there is such an axis.
void add_axis(Strategy& strategy, const std::string& name, std::optional<int64_t> members);
/// Throws InputError that begins with `what` where the pattern matches none of the layers, with the nearest name.
void expect_match(const std::string& what, const std::string& pattern, std::span<const std::string> layers);
/// Throws InputError where a pin's pattern matches none of the layers, with the nearest names.
void check_pins(const Strategy& strategy, std::span<const std::string> layers);

}  // namespace lockstep
