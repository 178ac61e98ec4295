#include "parallel/collectives/merge_lane.h"

#include "parallel/collectives/all_reduce.h"

namespace lockstep {

Kernel MergeLaneOp::make(const Signature&, MeshContext& context) const {
  return {.run = [combine = combine_by(context.kernels, merge, floats)](Stream& stream, const Args& args) {
    merge_lane(stream, args.out[0].as(), args.slot_bytes, args.lane, combine);
  }};
}

}  // namespace lockstep
