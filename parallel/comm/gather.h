// What ranks tell each other beside training: plain data in host memory. Used by the rank's thread; all ranks call.
#pragma once

#include <algorithm>
#include <string>
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

/// What every rank says, by rank, of any length.
inline std::vector<std::string> gather_texts(Communicator& comm, std::string mine) {
  const auto lengths = gather(comm, mine.size());
  mine.resize(std::ranges::max(lengths));
  std::string all(lengths.size() * mine.size(), '\0');
  InlineStream now;
  comm.all_gather(reinterpret_cast<const std::byte*>(mine.data()), reinterpret_cast<std::byte*>(all.data()),
                  mine.size(), now);
  std::vector<std::string> texts;
  for (size_t r = 0; r < lengths.size(); ++r) texts.push_back(all.substr(r * mine.size(), lengths[r]));
  return texts;
}

/// Returns when all ranks have called.
inline void meet(Communicator& comm) { gather(comm, std::byte{}); }

}  // namespace lockstep
