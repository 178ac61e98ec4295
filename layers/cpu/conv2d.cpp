#include "layers/conv2d.h"

#include <algorithm>
#include <array>

#include "layers/cpu/depthwise.h"
#include "layers/cpu/dnnl/weighted.h"
#include "layers/cpu/eight_images.h"
#include "layers/cpu/few_channels.h"
#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"
#include "layers/cpu/winograd.h"

namespace lockstep::cpu {

namespace {

using Tag = dnnl::memory::format_tag;
using Desc = dnnl::memory::desc;

/// Our weights [K,R,S,C/g] in oneDNN's logical order: [K,C/g,R,S], with a leading dimension of groups where there are
/// any.
dnnl::memory::dims weight_dims(const Shape& w, int64_t groups) {
  if (groups == 1) return {w[0], w[3], w[1], w[2]};
  return {groups, w[0] / groups, w[3], w[1], w[2]};
}

Desc stored_weights(const Shape& w, int64_t groups) {
  if (groups == 1) return layout_of(weight_dims(w, 1), Tag::ohwi);
  return layout_of(weight_dims(w, groups), Tag::gohwi);
}

ConvolutionLayouts layouts(const Conv2dAttributes& conv, const Shape& x, const Shape& w, const Shape& y, bool bias) {
  return {image_layout(x),
          layout_of(weight_dims(w, conv.groups), Tag::any),
          bias ? layout_of({w[0]}, Tag::a) : Desc(),
          image_layout(y),
          {conv.stride[0], conv.stride[1]},
          {conv.dilation[0] - 1, conv.dilation[1] - 1},
          {conv.pad_before[0], conv.pad_before[1]},
          {conv.pad_after[0], conv.pad_after[1]}};
}

}  // namespace

Kernel make(const Conv2dOp& op, const Signature& s) {
  if (suits_winograd(op.conv, s.in[0].shape, s.out[0].shape))
    return winograd_forward(op.conv, s.in[0].shape, s.out[0].shape, op.bias, op.relu);
  if (suits_eight_images(op.conv, s.in[0].shape[0], s.out[0].shape[3]))
    return eight_images_forward(op.conv, s.in[0].shape, s.out[0].shape, op.bias, op.relu);
  const auto desc = convolution(layouts(op.conv, s.in[0].shape, s.in[1].shape, s.out[0].shape, op.bias));
  return forward_kernel(dnnl::convolution_forward(desc), desc, stored_weights(s.in[1].shape, op.conv.groups),
                        {op.bias, op.relu}, s.out[0].shape.elements());
}

Kernel make(const Conv2dDataGradOp& op, const Signature& s) {
  if (suits_winograd(op.conv, s.out[0].shape, s.in[1].shape))
    return winograd_data_grad(op.conv, s.out[0].shape, s.in[1].shape);
  if (op.conv.stride == Size2{1, 1} && suits_eight_images(op.conv, s.in[1].shape[0], s.out[0].shape[3]))
    return eight_images_data_grad(op.conv, s.out[0].shape, s.in[1].shape);
  const auto desc = convolution_data_grad(layouts(op.conv, s.out[0].shape, s.in[0].shape, s.in[1].shape, false));
  return data_grad_kernel(dnnl::convolution_backward_data(desc), desc, stored_weights(s.in[0].shape, op.conv.groups));
}

namespace {

Kernel weight_grad(const Conv2dWeightGradOp& op, const Conv2dAttributes& conv, const Shape& x, const Signature& s) {
  const auto desc = convolution_weight_grad(layouts(conv, x, s.out[0].shape, s.in[1].shape, op.bias));
  return weight_grad_kernel(dnnl::convolution_backward_weights(desc), desc, stored_weights(s.out[0].shape, conv.groups),
                            op.bias);
}

/// out[n,p,q,:] = x[n, p * stride[0], q * stride[1], :], of shape `taken`.
void take_strided(const Tensor& x, Size2 stride, const Shape& taken, float* out) {
  const int64_t width = x.shape()[2], channels = taken[3], rows = taken[1], columns = taken[2];
  parallel_for(taken[0] * rows, columns * channels * 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t line = row / rows * x.shape()[1] + row % rows * stride[0];
      const float* from = x.as() + line * width * channels;
      for (int64_t q = 0; q < columns; ++q)
        std::copy_n(from + q * stride[1] * channels, channels, out + (row * columns + q) * channels);
    }
  });
}

}  // namespace

Kernel make(const Conv2dWeightGradOp& op, const Signature& s) {
  if (own_weight_grad(op, s)) return depthwise_weight_grad(op, s);
  const Conv2dAttributes& conv = op.conv;
  if (suits_winograd(conv, s.in[0].shape, s.in[1].shape))
    return winograd_weight_grad(conv, s.in[0].shape, s.in[1].shape, op.bias);
  if (suits_eight_images(conv, s.in[0].shape[0], s.in[1].shape[3]))
    return eight_images_weight_grad(conv, s.in[0].shape, s.in[1].shape, op.bias);
  if (suits_few_channels(conv, s.in[0].shape, s.out[0].shape))
    return few_channels_weight_grad(conv, s.in[0].shape, s.in[1].shape, op.bias);
  const Size2 one{1, 1}, none{0, 0};
  if (conv.kernel != one || conv.stride == one || conv.pad_before != none || conv.pad_after != none)
    return weight_grad(op, conv, s.in[0].shape, s);
  // oneDNN 2.6 takes the strided pixels into memory of which it then reads more than it wrote, where channels are few.
  Conv2dAttributes dense = conv;
  dense.stride = one;
  Shape taken = s.in[1].shape;
  taken[3] = s.in[0].shape[3];
  Kernel kernel = weight_grad(op, dense, taken, s);
  const size_t bytes = aligned(Type{taken}.bytes());
  kernel.run = [inner = kernel.run, bytes, taken, stride = conv.stride](Stream& stream, const Args& args) {
    take_strided(args.in[0], stride, taken, reinterpret_cast<float*>(args.workspace));
    const std::array<Tensor, 2> in{Tensor{args.workspace, {taken}}, args.in[1]};
    Args rest = args;
    rest.in = in;
    rest.workspace = args.workspace + bytes;
    inner(stream, rest);
  };
  kernel.workspace += bytes;
  return kernel;
}

}  // namespace lockstep::cpu
