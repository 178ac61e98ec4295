// What a network ends in: whether its outputs are probabilities. Pure functions: any thread.
#pragma once

#include <string>

#include "layers/network/network.h"

namespace lockstep {

/// "softmax" or "sigmoid" where such an operator makes `output`, whose input a loss can take instead (see Loss::end);
/// else "".
std::string end_of(const Graph& graph, Value output);
/// Of the network's output.
std::string end_of(const Network& network);

}  // namespace lockstep
