#include "layers/reshaping/permute.h"

#include "layers/cuda/context.h"
#include "layers/cuda/device.cuh"

namespace lockstep::cuda {

namespace {

/// The output's dimensions, outermost first, and the distance of each one's neighbours in the input.
struct Walk {
  int rank = 0;
  int64_t sizes[Shape::max_rank], strides[Shape::max_rank];
};

/// A thread an element of the output; `Unit` has an element's size.
template <class Unit>
__global__ void permute_kernel(Walk walk, const Unit* x, Unit* y, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  int64_t from = 0, left = i;
  for (int d = walk.rank - 1; d >= 0; --d) {
    const int64_t outer = left / walk.sizes[d];
    from += (left - outer * walk.sizes[d]) * walk.strides[d];
    left = outer;
  }
  y[i] = x[from];
}

}  // namespace

Kernel make(const PermuteOp& op, const Signature& signature, const SharedContext&) {
  const Type& y = signature.out[0];
  const auto strides = op.strides(signature.in[0].shape);
  Walk walk{};
  walk.rank = y.shape.rank();
  std::copy(y.shape.dims().begin(), y.shape.dims().end(), walk.sizes);
  std::copy(strides.begin(), strides.end(), walk.strides);
  return {.run = [walk, n = y.shape.elements(), bytes = size_of(y.dtype)](Stream& stream, const Args& args) {
    if (n == 0) return;
    const auto run = [&]<class Unit>(Unit) {
      launch(stream, {blocks_for(n)}, permute_kernel<Unit>, walk, args.in[0].as<const Unit>(), args.out[0].as<Unit>(),
             n);
    };
    bytes == sizeof(uint32_t) ? run(uint32_t{}) : run(uint16_t{});
  }};
}

}  // namespace lockstep::cuda
