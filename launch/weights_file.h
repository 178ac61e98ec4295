// Weights on disk, in the safetensors format (huggingface/safetensors: 8 bytes of header length, a JSON header, data),
// which Python reads as well. Any thread.
#pragma once

#include <string>

#include "launch/variables.h"

namespace lockstep {

/// Writes all variables in the network's order, under their names and shapes; atomically: to a temporary name in the
/// same folder, synced, then renamed. Throws Error with the path and the system's reason.
void write_weights(const std::string& path, const Network& network, const Weights& weights);

/// Throws InputError where the file is missing, truncated or malformed (with the byte), and where its variables are not
/// those of the network (naming the variable and both shapes).
Weights read_weights(const std::string& path, const Network& network);

}  // namespace lockstep
