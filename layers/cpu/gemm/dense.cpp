#include "layers/linear/dense.h"

#include "layers/cpu/dnnl/weighted.h"
#include "layers/cpu/kernels.h"

namespace lockstep::cpu {

namespace {

using Tag = dnnl::memory::format_tag;
using Desc = dnnl::memory::desc;

Desc matrix(const Shape& shape, Tag tag = Tag::ab) { return layout_of({shape[0], shape[1]}, tag); }

DenseLayouts layouts(const Shape& x, const Shape& w, const Shape& y, bool bias, Tag weights = Tag::any) {
  return {matrix(x), matrix(w, weights), bias ? layout_of({w[0]}, Tag::a) : Desc(), matrix(y)};
}

}  // namespace

Kernel make(const DenseOp& op, const Signature& s) {
  const auto desc = dense(layouts(s.in[0].shape, s.in[1].shape, s.out[0].shape, op.bias));
  return forward_kernel(dnnl::inner_product_forward(desc), desc, matrix(s.in[1].shape), {op.bias, op.relu},
                        s.out[0].shape.elements());
}

Kernel make(const DenseDataGradOp&, const Signature& s) {
  const auto desc = dense_data_grad(layouts(s.out[0].shape, s.in[0].shape, s.in[1].shape, false));
  return data_grad_kernel(dnnl::inner_product_backward_data(desc), desc, matrix(s.in[0].shape));
}

Kernel make(const DenseWeightGradOp& op, const Signature& s) {
  // Our own layout saves a reorder that takes longer than the product itself; only for a few units is oneDNN's faster.
  const Tag tag = s.out[0].shape[0] >= 32 ? Tag::ab : Tag::any;
  const auto desc = dense_weight_grad(layouts(s.in[0].shape, s.out[0].shape, s.in[1].shape, op.bias, tag));
  return weight_grad_kernel(dnnl::inner_product_backward_weights(desc), desc, matrix(s.out[0].shape), op.bias);
}

}  // namespace lockstep::cpu
