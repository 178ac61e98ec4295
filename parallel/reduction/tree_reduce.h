// The canonical balanced binary tree, over which every sum over lanes is made, so that the number of ranks does not
// change its bits: inside a rank by a stack, between ranks by pairwise exchange. Used by the rank's own thread.
#pragma once

#include <functional>
#include <vector>

#include "core/backend.h"
#include "core/graph/placement.h"
#include "parallel/comm/communicator.h"

namespace lockstep {

/// Enqueues what makes of the floats at `to` and `from` one, at `to`: their sum, or what an operator makes of them. Of
/// either order the same bits.
using Combine = std::function<void(Stream& stream, float* to, const float* from)>;
/// to[i] += from[i], n floats.
Combine addition(size_t n);

/// Sums over ranks: ((r0 + r1) + (r2 + r3)) + … on every rank. Recursive halving with distance doubling, then its
/// mirror image as an all-gather; small vectors go by recursive doubling (Thakur, Rabenseifner and Gropp, "Optimization
/// of collective communication operations in MPICH", 2005). The bits are the same either way, and the same as one
/// rank's tree: at each step a pair adds two values, and floating-point a + b equals b + a (NaN payloads aside).
class TreeAllReduce {
 public:
  /// For vectors of up to `max_n` floats. Both references must outlive this object.
  /// Throws InputError when the communicator's size is no power of two.
  TreeAllReduce(Communicator& communicator, Backend& backend, size_t max_n);

  /// Sums `n` floats at `data` in place, on every rank; enqueues on the stream. One run at a time: they share scratch
  /// memory, so use one stream or order them by events. Throws Error when n is above max_n.
  void run(float* data, size_t n, Stream& stream);
  /// The first half of it: afterwards a rank's `owned` part of the range holds the sum, the rest of it anything.
  void scatter(float* data, size_t n, Stream& stream);
  /// The other half: every rank's owned part goes to all.
  static void gather(Communicator& communicator, float* data, size_t n, Stream& stream);
  /// Floats [begin, end) of n.
  static Interval owned(int ranks, int rank, size_t n);
  /// Which rank owns the first part, the second, …
  static std::vector<int> owners(int ranks);
  /// Bytes that a rank sends for all of it, and for the halves below.
  static size_t sent(int ranks, int rank, size_t n);
  static size_t sent_to_scatter(int ranks, int rank, size_t n);
  static size_t sent_to_gather(int ranks, int rank, size_t n);
  /// Exchanges one after the other: of all of it, and of either half.
  static size_t exchanges(int ranks, size_t n);
  static size_t exchanges_of_half(int ranks);

 private:
  void double_up(float* data, size_t n, Stream& stream);

  Communicator& communicator_;
  size_t max_n_;
  Arena scratch_;
};

/// Combines `n` floats at `data` over the ranks, on every rank, along the same tree; they travel whole, so this is for
/// short ones. Of ranks that are no power of two, those beyond the largest are combined with the first ones before, and
/// get the result after. `scratch` has as many floats. Enqueues on the stream.
void combine_whole(Communicator& communicator, float* data, size_t n, float* scratch, const Combine& combine,
                   Stream& stream);
/// Bytes that a rank sends for it, and exchanges one after the other.
size_t sent_whole(int ranks, int rank, size_t n);
size_t exchanges_of_whole(int ranks);

/// The tree inside a rank. Lane `lane` (counted from 0 in its rank) has just written its `n` terms into slot
/// popcount(lane) of a stack whose slots lie `slot_stride_bytes` apart; `sum_of_lane` points to that slot. Adds
/// finished neighbours, as a binary counter carries: after the last of a power of two lanes the whole sum is in slot 0.
void merge_lane(Stream& stream, float* sum_of_lane, size_t n, size_t slot_stride_bytes, int lane);
/// The same of terms that another operation combines.
void merge_lane(Stream& stream, float* sum_of_lane, size_t slot_stride_bytes, int lane, const Combine& combine);

}  // namespace lockstep
