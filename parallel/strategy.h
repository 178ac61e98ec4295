// A strategy: the mesh of ranks, and which work its axes cut. How values lie on the mesh follows from the placements of
// the inputs, the operators' rules and the strategy's pins. Plain data, made once; any thread.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/placement.h"

namespace lockstep {

/// "batch", "height", "width", "filters", "channels", by the value of Cut.
std::span<const std::string> cut_names();

/// One axis of the mesh. The first is always "data", over which the batch is cut into lanes: it has a member for each
/// lane, and each rank plays a run of consecutive members. The others have a rank a member.
struct Axis {
  std::string name;
  int64_t size = 1;
  Cut cut = Cut::batch;  // of every layer that no pin speaks of
};

/// What some layers do along some axes: a cut, or none at all (every member computes the whole).
struct Pin {
  std::string layers;                               // a pattern, '*' for any characters: "stage4/*"
  std::map<std::string, std::optional<Cut>> place;  // by axis
};

struct Strategy {
  std::vector<Axis> mesh{{"data", 1, Cut::batch}};
  std::vector<Pin> pins;
  std::optional<int64_t> data_ranks;  // as given; none: as many as there are ranks for
  /// Each rank along the first axis keeps and updates its part of the parameters' optimizer variables alone
  /// (Rajbhandari et al., "ZeRO", SC 2020, stage 1).
  bool shard_optimizer = false;

  /// Ranks that share the work on one lane: the product of all axes but the first.
  int64_t ranks_per_lane() const;
  /// The last pin that speaks of the node or layer `name` along the axis (index); null where none does.
  const Pin* pin(const std::string& name, size_t axis) const;
  /// What the node or layer does along the axis: as its pin says, else as the axis.
  std::optional<Cut> cut(const std::string& name, size_t axis) const;
};

/// Whether the pattern matches the name, or the part of it before a '/'.
bool matches(const std::string& pattern, const std::string& name);

/// Data parallelism over the lanes.
Strategy data_parallel(int64_t lanes);
/// "data", or axes with their sizes, "data=2,space_h=2": data, space_h, space_w, filter, channel, each at most once.
/// Throws InputError that says what was given and what was expected.
Strategy parse_strategy(const std::string& text);
/// Adds an axis with what its name stands for. Throws InputError where the name is unknown or there is such an axis.
void add_axis(Strategy& strategy, const std::string& name, int64_t size);
/// Throws InputError that begins with `what` where the pattern matches none of the layers, with the nearest name.
void expect_match(const std::string& what, const std::string& pattern, std::span<const std::string> layers);
/// Throws InputError where a pin's pattern matches none of the layers, with the nearest names.
void check_pins(const Strategy& strategy, std::span<const std::string> layers);

}  // namespace lockstep
