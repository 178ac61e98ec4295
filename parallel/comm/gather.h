// What ranks tell each other beside training: plain data in host memory. Used by the rank's thread; all ranks call.
#pragma once

#include <type_traits>
#include <vector>

#include "core/cpu/streams.h"
#include "parallel/comm/communicator.h"

namespace lockstep {

/// What every rank gives, by rank: there when the stream, one of the CPU's, is past it.
template <class T>
std::vector<T> gather(Communicator& comm, const T& mine, Stream& stream) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::vector<T> all(static_cast<size_t>(comm.size()));
  comm.all_gather(reinterpret_cast<const std::byte*>(&mine), reinterpret_cast<std::byte*>(all.data()), sizeof(T),
                  stream);
  return all;
}

/// The same; returns when it is there.
template <class T>
std::vector<T> gather(Communicator& comm, const T& mine) {
  InlineStream now;
  return gather(comm, mine, now);
}

/// Returns when all ranks have called.
inline void meet(Communicator& comm) { gather(comm, std::byte{}); }

}  // namespace lockstep
