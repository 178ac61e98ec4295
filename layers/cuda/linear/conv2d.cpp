#include "layers/linear/conv2d.h"

#include "core/error.h"
#include "core/plan/memory.h"
#include "layers/cuda/column_sum.h"
#include "layers/cuda/convert.h"
#include "layers/cuda/cudnn/convolution.h"
#include "layers/cuda/linear/weights.h"

namespace lockstep::cuda {

namespace {

using Pass = ConvolutionSpec::Pass;
using Planned = std::shared_ptr<Convolution>;

ConvolutionSpec spec_of(Pass pass, const Conv2dAttributes& conv, const Shape& x, const Shape& w, const Shape& y,
                        DType images, DType weights) {
  return {pass, x, w, y, images, weights, conv.stride, conv.pad_before, conv.pad_after, conv.dilation};
}

/// Throws InputError where cuDNN has no engine.
Planned plan(const SharedContext& context, const ConvolutionSpec& spec) {
  std::string why;
  Planned planned = Convolution::make(context, spec, why);
  if (!planned) throw InputError("cuDNN has no engine for {}: {}", spec.str(), why);
  return planned;
}

/// `spec` where cuDNN has an engine for it, else `other`, which then becomes `spec`.
Planned plan_either(const SharedContext& context, ConvolutionSpec& spec, const ConvolutionSpec& other) {
  std::string why;
  if (Planned planned = Convolution::make(context, spec, why)) return planned;
  spec = other;
  return plan(context, spec);
}

}  // namespace

Kernel make(const Conv2dOp& op, const Signature& signature, const SharedContext& context) {
  const Type &x = signature.in[0], &y = signature.out[0];
  ConvolutionSpec spec = spec_of(Pass::forward, op.conv, x.shape, signature.in[1].shape, y.shape, x.dtype, x.dtype);
  const ConvolutionSpec without_bias = spec;
  // Bias inside cuDNN's kernel where it can. Relu never: ours keeps NaN, and adds the bias on the way.
  spec.bias = op.bias && !op.relu;
  const Planned planned = plan_either(context, spec, without_bias);
  const bool adds_bias = op.bias && !spec.bias;
  const int64_t channels = y.shape[3], rows = channels ? y.shape.elements() / channels : 0;
  Kernel kernel{.workspace = planned->workspace()};
  pack_weights(kernel, 1, x.dtype, signature.in[1].shape.elements());
  kernel.run = [=, with_bias = op.bias, with_relu = op.relu, dtype = x.dtype](Stream& stream, const Args& args) {
    planned->run(stream, args.in[0].data, packed_weights(args, 1, dtype), args.out[0].data,
                 with_bias ? args.in[2].data : nullptr, args.workspace);
    add_bias(stream, dtype, args.out[0].data, adds_bias ? args.in[2].as() : nullptr, rows, channels, with_relu);
  };
  return kernel;
}

Kernel make(const Conv2dDataGradOp& op, const Signature& signature, const SharedContext& context) {
  const Type &dy = signature.in[1], &dx = signature.out[0];
  const Planned planned =
      plan(context, spec_of(Pass::data_grad, op.conv, dx.shape, signature.in[0].shape, dy.shape, dy.dtype, dy.dtype));
  Kernel kernel{.workspace = planned->workspace()};
  pack_weights(kernel, 0, dy.dtype, signature.in[0].shape.elements());
  kernel.run = [planned, dtype = dy.dtype](Stream& stream, const Args& args) {
    planned->run(stream, args.out[0].data, packed_weights(args, 0, dtype), args.in[1].data, nullptr, args.workspace);
  };
  return kernel;
}

Kernel make(const Conv2dWeightGradOp& op, const Signature& signature, const SharedContext& context) {
  const Type &x = signature.in[0], &dy = signature.in[1];
  const Shape w = signature.out[0].shape;
  // In 32 bits from 16 where cuDNN can (9.19 has no engine for it); else in 16 bits, as PyTorch has it, converted.
  ConvolutionSpec spec = spec_of(Pass::weight_grad, op.conv, x.shape, w, dy.shape, x.dtype, DType::f32);
  ConvolutionSpec narrow = spec;
  narrow.weights = x.dtype;
  const Planned planned = plan_either(context, spec, narrow);
  const bool converts = spec.weights != DType::f32;
  const int64_t channels = dy.shape[3], rows = channels ? dy.shape.elements() / channels : 0;
  const size_t converted_at = aligned(planned->workspace());
  const size_t sum_at = converted_at + (converts ? aligned(Type{w, spec.weights}.bytes()) : 0);
  Kernel kernel{.workspace = sum_at + (op.bias ? column_sum_workspace(rows, channels) : 0)};
  kernel.run = [=, with_bias = op.bias, dtype = dy.dtype](Stream& stream, const Args& args) {
    std::byte* const made = converts ? args.workspace + converted_at : args.out[0].data;
    planned->run(stream, args.in[0].data, made, args.in[1].data, nullptr, args.workspace);
    if (converts) convert(stream, dtype, made, DType::f32, args.out[0].data, w.elements());
    if (with_bias)
      column_sum(stream, dtype, args.in[1].data, rows, channels, args.out[1].as(), args.workspace + sum_at);
  };
  return kernel;
}

}  // namespace lockstep::cuda
