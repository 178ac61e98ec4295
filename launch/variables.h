// Where a network's variables lie in a rank's memory, and moving them in and out by name. One rank's thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/plan/executor.h"
#include "layers/network.h"

namespace lockstep {

/// A variable's values, dense, in the variable's own shape.
using Weights = std::map<std::string, std::vector<float>>;

/// Parameters lie in the reverse order of the network, which is the order in which backward completes their gradients:
/// so the sums of gradients, laid out alike, can be reduced in ranges from the front while backward goes on.
struct VariableLayout {
  explicit VariableLayout(const Network& network);

  std::map<std::string, Location> where;
  size_t parameter_bytes = 0, state_bytes = 0;
};

class VariableStore {
 public:
  /// Allocates parameters, states and `slots` optimizer variables a parameter, and fills them from the seed.
  VariableStore(const Network& network, Backend& backend, int slots, uint64_t seed);

  const VariableLayout& layout() const { return layout_; }
  VariableMemory& memory() { return memory_; }

  Weights get() const;
  /// Throws Error where a variable is missing, unknown or of another size; then nothing is changed.
  void set(const Weights& weights);
  /// The optimizer's variables, by parameter name, one map a slot.
  std::vector<Weights> get_slots() const;
  /// `slots` as get_slots gave them.
  void set_slots(const std::vector<Weights>& slots);
  /// SHA-256, in hex, over all variables in the network's order: name, shape, then the values' bytes. The same for
  /// every number of ranks, strategy and memory layout.
  std::string sha256() const;
  /// The same over the optimizer's variables.
  std::string slots_sha256() const;

 private:
  float* data(const Variable& variable) const;
  float* slot_data(int slot, const Variable& variable) const;

  std::vector<Variable> variables_;
  VariableLayout layout_;
  VariableMemory memory_;
  int slots_;
};

}  // namespace lockstep
