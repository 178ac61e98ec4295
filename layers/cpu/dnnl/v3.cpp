// oneDNN 3: a primitive's description is made directly, and a post-op has no scale.
#include "layers/cpu/dnnl/primitive.h"

namespace lockstep::cpu {

using dnnl::algorithm;
using dnnl::prop_kind;

namespace {

dnnl::primitive_attr attributes(bool relu) {
  dnnl::primitive_attr attr = user_scratchpad();
  if (relu) {
    dnnl::post_ops after;
    after.append_eltwise(algorithm::eltwise_relu, 0.0F, 0.0F);
    attr.set_post_ops(after);
  }
  return attr;
}

}  // namespace

dnnl::convolution_forward::primitive_desc convolution(const ConvolutionLayouts& c, bool relu) {
  return {cpu_engine(),
          prop_kind::forward_training,
          algorithm::convolution_direct,
          c.x,
          c.w,
          c.b,
          c.y,
          c.strides,
          c.pad_before,
          c.pad_after,
          attributes(relu)};
}

dnnl::convolution_backward_data::primitive_desc convolution_data_grad(const ConvolutionLayouts& c) {
  return {cpu_engine(),
          algorithm::convolution_direct,
          c.x,
          c.w,
          c.y,
          c.strides,
          c.pad_before,
          c.pad_after,
          convolution(c, false),
          attributes(false)};
}

dnnl::convolution_backward_weights::primitive_desc convolution_weight_grad(const ConvolutionLayouts& c) {
  return {cpu_engine(),
          algorithm::convolution_direct,
          c.x,
          c.w,
          c.b,
          c.y,
          c.strides,
          c.pad_before,
          c.pad_after,
          convolution(c, false),
          attributes(false)};
}

dnnl::inner_product_forward::primitive_desc dense(const DenseLayouts& d, bool relu) {
  return {cpu_engine(), prop_kind::forward_training, d.x, d.w, d.b, d.y, attributes(relu)};
}

dnnl::inner_product_backward_data::primitive_desc dense_data_grad(const DenseLayouts& d) {
  return {cpu_engine(), d.x, d.w, d.y, dense(d, false), attributes(false)};
}

dnnl::inner_product_backward_weights::primitive_desc dense_weight_grad(const DenseLayouts& d) {
  return {cpu_engine(), d.x, d.w, d.b, d.y, dense(d, false), attributes(false)};
}

}  // namespace lockstep::cpu
