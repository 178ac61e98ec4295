// Pass: merges the reductions of a step (ReduceOp) into few buckets, each a range of the memory where the
// lanes' sums lie.
#pragma once

#include "core/plan/memory.h"
#include "parallel/placement/propagate.h"

namespace lockstep {

struct Bucket {
  size_t begin = 0, end = 0;  // bytes in Region::total
  /// f32[n]: those of the range that are gradients, reduced; none where there are none. Where the optimizer is sharded,
  /// the part of them that this rank owns.
  Value gradients = {};
  Interval owned = {};  // bytes in Region::total: where these lie
};

/// Bytes of a bucket's gradients that one of `sharers` ranks owns; they begin at `begin` and end at `end`.
Interval owned_bytes(size_t begin, size_t end, int sharers, int sharer);

/// What the caller knows of the sums' layout: where each partial value that is to be reduced lies in Region::sum
/// (by value id). Ranges are filled from the top: what backward completes first should lie first.
struct BucketRequest {
  FixedLocations sums;
  size_t gradient_bytes = 0;               // gradients lie below this offset, other sums above
  size_t first_bytes = size_t{1} << 20;    // a small first bucket starts the reduction early
  size_t bucket_bytes = size_t{25} << 20;  // the others
  bool phased = false;                     // forward and backward have turns of their own: none spans both
  int sharers = 1, sharer = 0;             // ranks among whom gradients are shared out, and which one this is
};

/// Replaces the ReduceOps by, for each bucket, a node that merges a lane's terms into the stack of
/// this rank's partial sums, and one that reduces over the ranks. Adds the locations of all values involved to `fixed`.
std::vector<Bucket> bucket_reductions(PlacedGraph& placed, const BucketRequest& request, FixedLocations& fixed);

}  // namespace lockstep
