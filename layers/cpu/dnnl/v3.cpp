// oneDNN 3: a primitive's description is made directly.
#include "layers/cpu/dnnl/primitive.h"

namespace lockstep::cpu {

using dnnl::algorithm;
using dnnl::prop_kind;

dnnl::convolution_forward::primitive_desc convolution(const ConvolutionLayouts& c) {
  return {cpu_engine(),
          prop_kind::forward_training,
          algorithm::convolution_direct,
          c.x,
          c.w,
          c.b,
          c.y,
          c.strides,
          c.dilates,
          c.pad_before,
          c.pad_after,
          strict_attributes()};
}

dnnl::convolution_backward_data::primitive_desc convolution_data_grad(const ConvolutionLayouts& c) {
  return {cpu_engine(),
          algorithm::convolution_direct,
          c.x,
          c.w,
          c.y,
          c.strides,
          c.dilates,
          c.pad_before,
          c.pad_after,
          convolution(c),
          strict_attributes()};
}

dnnl::convolution_backward_weights::primitive_desc convolution_weight_grad(const ConvolutionLayouts& c) {
  return {cpu_engine(),
          algorithm::convolution_direct,
          c.x,
          c.w,
          c.b,
          c.y,
          c.strides,
          c.dilates,
          c.pad_before,
          c.pad_after,
          convolution(c),
          strict_attributes()};
}

dnnl::inner_product_forward::primitive_desc dense(const DenseLayouts& d) {
  return {cpu_engine(), prop_kind::forward_training, d.x, d.w, d.b, d.y, strict_attributes()};
}

dnnl::inner_product_backward_data::primitive_desc dense_data_grad(const DenseLayouts& d) {
  return {cpu_engine(), d.x, d.w, d.y, dense(d), strict_attributes()};
}

dnnl::inner_product_backward_weights::primitive_desc dense_weight_grad(const DenseLayouts& d) {
  return {cpu_engine(), d.x, d.w, d.b, d.y, dense(d), strict_attributes()};
}

}  // namespace lockstep::cpu
