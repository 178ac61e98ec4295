// Sums over the members of a communicator, of any number, always added in their order. Used by the rank's own thread.
#pragma once

#include "core/dtype.h"
#include "parallel/comm/communicator.h"

namespace lockstep {

/// Bytes of scratch memory that the sum of n elements, or fewer, takes.
size_t ordered_scratch(int members, DType dtype, size_t n);

/// Exchanges that it takes, one after the other.
size_t ordered_exchanges(int members, DType dtype, size_t n);
/// Bytes that a member sends for it.
size_t ordered_sent(int members, int member, DType dtype, size_t n);

/// Sums n elements at `data` in place, on every member: short ones travel whole; else each member sums its part of
/// them, and the parts are gathered. Enqueues on the stream.
void ordered_all_reduce(Communicator& comm, DType dtype, std::byte* data, size_t n, std::byte* scratch, Stream& stream);

}  // namespace lockstep
