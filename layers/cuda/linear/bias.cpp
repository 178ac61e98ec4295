#include "layers/linear/bias.h"

#include "layers/cuda/column_sum.h"
#include "layers/cuda/context.h"
#include "layers/cuda/linear/weights.h"

namespace lockstep::cuda {

Kernel make(const BiasOp&, const Signature& signature, const SharedContext&) {
  const Type& x = signature.in[0];
  const int64_t channels = x.shape[3], rows = channels ? x.shape.elements() / channels : 0;
  return {.run = [=, dtype = x.dtype](Stream& stream, const Args& args) {
    add_bias(stream, dtype, args.in[0].data, args.out[0].data, args.in[1].as(), rows, channels, false);
  }};
}

Kernel make(const BiasGradOp&, const Signature& signature, const SharedContext&) {
  const Type& dy = signature.in[0];
  const int64_t channels = dy.shape[3], rows = channels ? dy.shape.elements() / channels : 0;
  return {.workspace = column_sum_workspace(rows, channels),
          .run = [=, dtype = dy.dtype](Stream& stream, const Args& args) {
            column_sum(stream, dtype, args.in[0].data, rows, channels, args.out[0].as(), args.workspace);
          }};
}

}  // namespace lockstep::cuda
