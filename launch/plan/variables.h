// Where a network's variables lie in a rank's memory, and moving them in and out by name. One rank's thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/plan/executor.h"
#include "layers/network/network.h"
#include "layers/network/weights.h"
#include "layers/optimizers/loss_scale.h"
#include "parallel/mesh/mesh.h"
#include "parallel/placement/propagate.h"

namespace lockstep {

class Sha256;

/// An interval of each dimension.
using Box = std::vector<Interval>;

/// How a variable that is cut lies on the mesh.
struct Shard {
  Placements placement;        // by axis
  std::vector<Slices> slices;  // by axis
  Shape local;                 // this rank's part
  int stage = -1;              // of a pipeline, whose ranks alone have it; -1: all do
  size_t stage_axis = 0;
};
/// By name, of the variables that are cut.
using Shards = std::map<std::string, Shard>;

/// Parameters lie in the reverse order of the network, which is the order in which backward completes their gradients:
/// so the sums of gradients, laid out alike, can be reduced in ranges from the front while backward goes on.
struct VariableLayout {
  explicit VariableLayout(const Network& network, Shards shards = {}, size_t axes = 1);

  /// Where the variable lies along each axis of the mesh.
  Placements placements(const std::string& name) const;
  Shape local_shape(const Variable& variable) const;

  std::map<std::string, Location> where;  // of every variable, and of the loss scale
  size_t parameter_bytes = 0, state_bytes = 0;
  Shards shards;
  size_t axes = 1;
};

/// Bytes [begin, end) of Region::parameter whose optimizer variables a rank keeps, one map a slot, from `slot` on.
struct OwnedRange {
  size_t begin = 0, end = 0, slot = 0;
};
/// Of each rank along the mesh's first axis.
using OwnedRanges = std::vector<std::vector<OwnedRange>>;
/// Bytes that one slot takes of them.
size_t slot_bytes(const std::vector<OwnedRange>& owned);

/// Adds a variable to a hash of variables: its name, its shape, its values' bytes.
void hash_variable(Sha256& hash, const Variable& variable, std::span<const float> values);

/// The loss scale's name among the values of a step. Variables have a '/' in theirs.
inline constexpr std::string_view loss_scale_name = "loss_scale";

class VariableStore {
 public:
  /// Allocates parameters, states and `slots` optimizer variables a parameter, and fills them from the seed. The loss
  /// scale starts as LossScale{}; it changes only where a step scales its loss. `backend` must outlive the store.
  /// Where `shards` cut variables, this rank holds its part of them, and what reads whole variables is called by all
  /// ranks together: parts travel over `host`, in host memory. Mesh and communicator must outlive the store.
  VariableStore(const Network& network, Backend& backend, int slots, uint64_t seed, Shards shards = {},
                const Mesh* mesh = nullptr, Communicator* host = nullptr);

  /// With a sharded optimizer (see Strategy), before slots are used: allocates those that this rank keeps.
  void own(OwnedRanges owned);

  const VariableLayout& layout() const { return layout_; }
  VariableMemory& memory() { return memory_; }

  /// Whole variables, on the ranks that want them; others get nothing.
  Weights get(bool wanted = true) const;
  /// Throws as check_weights does; then nothing is changed.
  void set(const Weights& weights);
  /// The optimizer's variables, by parameter name, one map a slot; as get().
  std::vector<Weights> get_slots(bool wanted = true) const;
  /// `slots` as get_slots gave them.
  void set_slots(const std::vector<Weights>& slots);
  LossScale loss_scale() const;
  void set_loss_scale(const LossScale& scale);
  /// SHA-256, in hex, over all variables in the network's order: name, shape, then the values' bytes. The same for
  /// every number of ranks, strategy and memory layout.
  std::string sha256() const;
  /// Throws Error that names both where a rank holds other bits than the first that holds the same part of all
  /// variables. All ranks call.
  void check_replicas() const;
  /// The same over the optimizer's variables and the loss scale.
  std::string slots_sha256() const;

 private:
  /// On the device, where there is one.
  std::byte* data(const std::string& name) const;
  /// The optimizer's variables of one slot, laid out as the parameters are: all of them, whoever keeps them.
  std::vector<std::byte> whole_slot(int slot) const;
  /// Which ranks want whole variables; empty where all have them.
  std::vector<bool> takers(bool wanted) const;
  /// A variable's values, of which `mine` is this rank's part, on those of the ranks.
  std::vector<float> joined(std::vector<float> mine, const Variable& variable, const std::vector<bool>& takers) const;
  /// What the first rank has hashed, where it alone has all.
  std::string agreed(std::string hash) const;
  std::vector<float> read(const Variable& variable, const std::vector<bool>& takers) const;
  /// What this rank holds of a variable.
  Box box_of(const Variable& variable) const;
  void put(std::byte* to, std::span<const float> mine);
  /// This rank's part of a variable's values.
  std::vector<float> part(std::span<const float> values, const Variable& variable) const;

  Backend& backend_;
  const Mesh* mesh_;
  Communicator* host_;
  std::vector<Variable> variables_;
  VariableLayout layout_;
  VariableMemory memory_;
  int slots_;
  OwnedRanges owned_;
};

}  // namespace lockstep
