// What batch norm's kernels share: which rows count, and how x is cut. Device code.
#pragma once

#include "core/step_state.h"
#include "layers/cuda/columns.cuh"
#include "layers/cuda/context.h"

namespace lockstep::cuda::norm {

/// The rows that count.
struct Samples {
  const LaneState* lane;  // null: all
  int64_t per_sample;

  __device__ int64_t valid(const Columns& s) const { return lane ? lane->valid * per_sample : s.rows; }
  /// How many of the first `valid` rows lie in the thread's part.
  __device__ static int in_part(const Place& at, int64_t valid) {
    return static_cast<int>(max(min(valid - at.begin, int64_t{at.end}), int64_t{0}));
  }
};

/// body(row) for a part's rows of this thread, `unroll` of them from `row` on at a time, the last ones first: a pass
/// over x that reads first what the pass before has read last may find it in the second-level cache still.
template <int unroll, class Body>
__device__ inline void backwards(const Columns& s, const Place& at, Body body) {
  if (at.row >= at.end) return;
  const int round = unroll * s.height;
  for (int row = at.row + (at.end - 1 - at.row) / round * round; row >= 0; row -= round) body(row);
}
/// The block's number counted from the last.
__device__ inline unsigned block_from_last() { return gridDim.x - 1 - blockIdx.x; }

/// How many parts have rows that count.
__device__ inline int parts_with(const Columns& s, int64_t valid) {
  return static_cast<int>((valid + s.per_part - 1) / s.per_part);
}

/// x as a matrix, and where the workspace holds what.
struct Plan {
  Plan(const Type& x, int64_t lanes, int multiprocessors)
      : dtype(x.dtype),
        columns(x.shape[-1] ? x.shape.elements() / x.shape[-1] : 0, x.shape[-1], columns_pack(x.dtype, x.shape[-1]),
                multiprocessors),
        per_sample(x.shape[0] ? columns.rows / x.shape[0] : 0) {
    if (lanes != 1) throw Error("the batch norm kernel works on one lane, but got {}", lanes);
  }
  Samples samples(const Args& args, size_t lane_state) const {
    return {args.in[lane_state].as<const LaneState>(), per_sample};
  }
  /// `kept` values a channel, then two sums a part and channel, then a byte a pack.
  size_t workspace(int64_t kept, bool mask) const {
    return static_cast<size_t>(kept * padded() + 2 * columns.parts * columns.channels) * sizeof(float) +
           (mask ? static_cast<size_t>(columns.rows * columns.packs) : 0);
  }
  float* kept(const Args& args, int64_t i) const { return reinterpret_cast<float*>(args.workspace) + i * padded(); }
  float* partial(const Args& args, int64_t kept_values) const { return kept(args, kept_values); }
  uint8_t* mask(const Args& args, int64_t kept_values) const {
    return reinterpret_cast<uint8_t*>(partial(args, kept_values) + 2 * columns.parts * columns.channels);
  }

  DType dtype;
  Columns columns;
  int64_t per_sample;

 private:
  int64_t padded() const { return (int64_t{columns.channels} + 15) / 16 * 16; }
};

/// Calls body(T{}, pack's size, relu, add), the last three as constants.
template <class Body>
void with_variant(const Plan& plan, bool with_relu, bool add, Body body) {
  with_packs(plan.dtype, plan.columns.channels, [&](auto type, auto size) {
    if (with_relu)
      add ? body(type, size, std::true_type{}, std::true_type{})
          : body(type, size, std::true_type{}, std::false_type{});
    else
      add ? body(type, size, std::false_type{}, std::true_type{})
          : body(type, size, std::false_type{}, std::false_type{});
  });
}

}  // namespace lockstep::cuda::norm
