#include "layers/network/weights.h"

#include "core/error.h"

namespace lockstep {

void check_weights(const std::vector<Variable>& variables, const Weights& weights) {
  for (const Variable& variable : variables) {
    const auto found = weights.find(variable.name);
    if (found == weights.end()) throw InputError("variable '{}' is missing", variable.name);
    if (static_cast<int64_t>(found->second.size()) != variable.shape.elements())
      throw InputError("variable '{}' has {} values, expected {}", variable.name, found->second.size(),
                       variable.shape.str());
  }
  if (weights.size() != variables.size())
    throw InputError("{} variables were given, the network has {}", weights.size(), variables.size());
}

}  // namespace lockstep
