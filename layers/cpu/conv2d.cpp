#include "layers/conv2d.h"

#include "layers/cpu/dnnl/weighted.h"
#include "layers/cpu/kernels.h"

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
          {conv.pad_before[0], conv.pad_before[1]},
          {conv.pad_after[0], conv.pad_after[1]}};
}

}  // namespace

Kernel make(const Conv2dOp& op, const Signature& s) {
  const auto desc = convolution(layouts(op.conv, s.in[0].shape, s.in[1].shape, s.out[0].shape, op.bias));
  return forward_kernel(dnnl::convolution_forward(desc), desc, stored_weights(s.in[1].shape, op.conv.groups),
                        {op.bias, op.relu}, s.out[0].shape.elements());
}

Kernel make(const Conv2dDataGradOp& op, const Signature& s) {
  const auto desc = convolution_data_grad(layouts(op.conv, s.out[0].shape, s.in[0].shape, s.in[1].shape, false));
  return data_grad_kernel(dnnl::convolution_backward_data(desc), desc, stored_weights(s.in[0].shape, op.conv.groups));
}

Kernel make(const Conv2dWeightGradOp& op, const Signature& s) {
  const auto desc = convolution_weight_grad(layouts(op.conv, s.in[0].shape, s.out[0].shape, s.in[1].shape, op.bias));
  return weight_grad_kernel(dnnl::convolution_backward_weights(desc), desc,
                            stored_weights(s.out[0].shape, op.conv.groups), op.bias);
}

}  // namespace lockstep::cpu
