// oneDNN 2: a primitive's description is made from an operation descriptor, and a post-op has a scale of its own.
#include "layers/cpu/dnnl/primitive.h"

namespace lockstep::cpu {

using dnnl::algorithm;
using dnnl::prop_kind;

namespace {

dnnl::primitive_attr attributes(bool relu) {
  dnnl::primitive_attr attr = user_scratchpad();
  if (relu) {
    dnnl::post_ops after;
    after.append_eltwise(1.0F, algorithm::eltwise_relu, 0.0F, 0.0F);
    attr.set_post_ops(after);
  }
  return attr;
}

}  // namespace

dnnl::convolution_forward::primitive_desc convolution(const ConvolutionLayouts& c, bool relu) {
  return {{prop_kind::forward_training, algorithm::convolution_direct, c.x, c.w, c.b, c.y, c.strides, c.pad_before,
           c.pad_after},
          attributes(relu),
          cpu_engine()};
}

dnnl::convolution_backward_data::primitive_desc convolution_data_grad(const ConvolutionLayouts& c) {
  const dnnl::convolution_forward::primitive_desc hint = convolution(c, false);
  return {{algorithm::convolution_direct, c.x, c.w, c.y, c.strides, c.pad_before, c.pad_after},
          attributes(false),
          cpu_engine(),
          hint};
}

dnnl::convolution_backward_weights::primitive_desc convolution_weight_grad(const ConvolutionLayouts& c) {
  const dnnl::convolution_forward::primitive_desc hint = convolution(c, false);
  return {{algorithm::convolution_direct, c.x, c.w, c.b, c.y, c.strides, c.pad_before, c.pad_after},
          attributes(false),
          cpu_engine(),
          hint};
}

dnnl::inner_product_forward::primitive_desc dense(const DenseLayouts& d, bool relu) {
  return {{prop_kind::forward_training, d.x, d.w, d.b, d.y}, attributes(relu), cpu_engine()};
}

dnnl::inner_product_backward_data::primitive_desc dense_data_grad(const DenseLayouts& d) {
  return {{d.x, d.w, d.y}, attributes(false), cpu_engine(), dense(d, false)};
}

dnnl::inner_product_backward_weights::primitive_desc dense_weight_grad(const DenseLayouts& d) {
  return {{d.x, d.w, d.b, d.y}, attributes(false), cpu_engine(), dense(d, false)};
}

}  // namespace lockstep::cpu
