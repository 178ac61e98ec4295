// Splits a loop over the calling thread's OpenMP threads. Results must not depend on where it is cut.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace lockstep::cpu {

/// Below this many bytes of traffic, waking other threads takes longer than the work.
inline constexpr int64_t parallel_bytes = 1 << 17;

/// Calls body(begin, end) for pieces that cover 0 … n. `bytes` is the traffic of one step of the loop. With one thread
/// there is one piece and no OpenMP: small layers are all overhead.
template <class Body>
void parallel_for(int64_t n, int64_t bytes, Body&& body) {
  const int64_t pieces = std::min<int64_t>(omp_get_max_threads(), n * bytes / parallel_bytes);
  if (pieces <= 1) {
    body(int64_t{0}, n);
    return;
  }
#pragma omp parallel for schedule(static) num_threads(static_cast <int>(pieces))
  for (int64_t piece = 0; piece < pieces; ++piece) body(n * piece / pieces, n * (piece + 1) / pieces);
}

}  // namespace lockstep::cpu
