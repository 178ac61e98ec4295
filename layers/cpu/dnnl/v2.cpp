// oneDNN 2: a primitive's description is made from an operation descriptor.
#include "layers/cpu/dnnl/primitive.h"

namespace lockstep::cpu {

using dnnl::algorithm;
using dnnl::prop_kind;

dnnl::convolution_forward::primitive_desc convolution(const ConvolutionLayouts& c) {
  return {{prop_kind::forward_training, algorithm::convolution_direct, c.x, c.w, c.b, c.y, c.strides, c.dilates,
           c.pad_before, c.pad_after},
          strict_attributes(),
          cpu_engine()};
}

dnnl::convolution_backward_data::primitive_desc convolution_data_grad(const ConvolutionLayouts& c) {
  const dnnl::convolution_forward::primitive_desc hint = convolution(c);
  return {{algorithm::convolution_direct, c.x, c.w, c.y, c.strides, c.dilates, c.pad_before, c.pad_after},
          strict_attributes(),
          cpu_engine(),
          hint};
}

dnnl::convolution_backward_weights::primitive_desc convolution_weight_grad(const ConvolutionLayouts& c) {
  const dnnl::convolution_forward::primitive_desc hint = convolution(c);
  return {{algorithm::convolution_direct, c.x, c.w, c.b, c.y, c.strides, c.dilates, c.pad_before, c.pad_after},
          strict_attributes(),
          cpu_engine(),
          hint};
}

dnnl::inner_product_forward::primitive_desc dense(const DenseLayouts& d) {
  return {{prop_kind::forward_training, d.x, d.w, d.b, d.y}, strict_attributes(), cpu_engine()};
}

dnnl::inner_product_backward_data::primitive_desc dense_data_grad(const DenseLayouts& d) {
  return {{d.x, d.w, d.y}, strict_attributes(), cpu_engine(), dense(d)};
}

dnnl::inner_product_backward_weights::primitive_desc dense_weight_grad(const DenseLayouts& d) {
  return {{d.x, d.w, d.b, d.y}, strict_attributes(), cpu_engine(), dense(d)};
}

}  // namespace lockstep::cpu
