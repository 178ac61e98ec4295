// A model's weights on disk, in the safetensors format, under the variables' names. Any thread.
#pragma once

#include <string>

#include "launch/files/safetensors.h"
#include "launch/plan/variables.h"

namespace lockstep {

/// Throws Error that names the first variable that holds NaN or infinity, and where in it: such weights are of no use,
/// and are not to take the place of good ones. `whose` begins the message: "the weights after step 3".
void expect_finite(const Network& network, const Weights& weights, const std::string& whose);

/// Writes all variables in the network's order, under their names and shapes; atomically: to a temporary name in the
/// same folder, synced, then renamed. Throws Error with the path and the system's reason, and as expect_finite; then
/// what was there stays.
WrittenFile write_weights(const std::string& path, const Network& network, const Weights& weights);

/// Throws InputError where the file is missing, truncated or malformed (with the byte), and where its variables are not
/// those of the network (naming the variable and both shapes).
Weights read_weights(const std::string& path, const Network& network);
Weights read_weights(const Safetensors& file, const Network& network);

/// SHA-256, in hex, as VariableStore::sha256 has it.
std::string weights_sha256(const Network& network, const Weights& weights);

}  // namespace lockstep
