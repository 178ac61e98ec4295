// One collective call, for tests in which ranks wait for each other.
#pragma once

#include "core/backend.h"
#include "core/error.h"
#include "parallel/comm/communicator.h"

namespace lockstep::testing {

/// Returns when all ranks have called it. Throws Error where the sum over the ranks is wrong.
inline void meet(Communicator& comm) {
  const auto backend = make_cpu_backend(1);
  const auto stream = backend->side_stream();
  float one = 1;
  comm.all_reduce(&one, 1, *stream);
  stream->synchronize();
  if (one != static_cast<float>(comm.size())) throw Error("the sum over {} ranks is {}", comm.size(), one);
}

}  // namespace lockstep::testing
