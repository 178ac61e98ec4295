// Ranks that wait for each other between measurements.
#pragma once

#include <vector>

#include "core/cpu/streams.h"
#include "parallel/comm/communicator.h"

namespace lockstep {

/// Returns when all ranks have called; throws on all where one has failed, which a barrier would wait for.
inline void meet(Communicator& comm) {
  WorkerStream stream;
  const std::byte mine{};
  std::vector<std::byte> all(static_cast<size_t>(comm.size()));
  comm.all_gather(&mine, all.data(), 1, stream);
  stream.synchronize();
}

}  // namespace lockstep
