// The values of a network's variables, by name. Plain data.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "layers/base/builder.h"

namespace lockstep {

/// A variable's values, dense, in the variable's own shape.
using Weights = std::map<std::string, std::vector<float>>;

/// Throws InputError where a variable is missing, unknown or of another size.
void check_weights(const std::vector<Variable>& variables, const Weights& weights);

}  // namespace lockstep
