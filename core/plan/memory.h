// Pass: gives every value of a scheduled graph its place. Nothing is allocated here.
#pragma once

#include <map>

#include "core/graph/graph.h"
#include "core/graph/per_id.h"
#include "core/plan/schedule.h"

namespace lockstep {

/// The arenas of one rank. A region's size is for one lane where that is said.
enum class Region : unsigned char {
  arena,       // activations and workspaces: used again by every lane
  lane_input,  // one copy a lane
  output,      // one copy a lane
  step_input,
  parameter,
  state,
  slot,    // the optimizer's variables
  sum,     // a lane's terms. Lane l of a rank writes slot popcount(l): a binary-counter stack of partial sums
  total,   // the memory of Sum's slot 0, where the sum over all lanes and ranks is in the end
  packed,  // what kernels keep between steps
  stash,   // what backward reads of forward, one copy for each lane that is in flight
};
inline constexpr size_t region_count = 11;

struct Location {
  Region region = Region::arena;
  size_t offset = 0;
};

/// Bytes rounded up to the alignment of every value and workspace: what GPU libraries assume of memory.
constexpr size_t aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }

/// Where values lie that something outside the step's graph fixes (parameters, sums).
using FixedLocations = std::map<Value, Location>;

/// Bytes that a node's made kernel needs.
struct NodeMemory {
  size_t workspace = 0, packed = 0;
};

/// Where they lie: offsets in Arena and in Packed.
struct NodePlace {
  size_t workspace = 0, packed = 0;
};

struct MemoryPlan {
  PerValue<Location> values;
  PerNode<NodePlace> nodes;
  std::array<size_t, region_count> bytes{};  // by region

  size_t& size(Region region) { return bytes[static_cast<size_t>(region)]; }
  size_t size(Region region) const { return bytes[static_cast<size_t>(region)]; }
};

/// `local` holds the local type of each value. Activations share one arena by lifetime: the largest first, each at the
/// lowest offset free during its life. A value that another surrounds (see Op::surrounds) lies in that one's bytes from
/// the start. An in-place operator's output takes its input's place where nobody reads the
/// input later; views always do. Where several lanes are in flight (see StepPlan), what is made in one phase and read
/// in another has a place of its own, one a lane; what is sent to another stage is not used again before it has left.
MemoryPlan plan_memory(const Graph& graph, const PerValue<Type>& local, std::span<const Entry> order,
                       const PerNode<NodeMemory>& needs, const FixedLocations& fixed, int in_flight = 1);

}  // namespace lockstep
