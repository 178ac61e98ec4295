// A model's weights on disk, in the safetensors format, under the variables' names. Any thread.
#pragma once

#include <string>

#include "launch/safetensors.h"
#include "launch/variables.h"

namespace lockstep {

/// Writes all variables in the network's order, under their names and shapes; atomically: to a temporary name in the
/// same folder, synced, then renamed. Throws Error with the path and the system's reason.
WrittenFile write_weights(const std::string& path, const Network& network, const Weights& weights);

/// Throws InputError where the file is missing, truncated or malformed (with the byte), and where its variables are not
/// those of the network (naming the variable and both shapes).
Weights read_weights(const std::string& path, const Network& network);
Weights read_weights(const Safetensors& file, const Network& network);

/// SHA-256, in hex, as VariableStore::sha256 has it.
std::string weights_sha256(const Network& network, const Weights& weights);

}  // namespace lockstep
