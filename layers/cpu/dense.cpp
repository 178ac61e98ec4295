#include "layers/dense.h"

#include <memory>

#include "core/plan/memory.h"
#include "layers/cpu/dnnl/primitive.h"
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
  const auto desc = dense(layouts(s.in[0].shape, s.in[1].shape, s.out[0].shape, op.bias), op.relu);
  const Desc packed = desc.weights_desc();
  std::vector<Primitive::Argument> arguments{{DNNL_ARG_SRC, desc.src_desc()},
                                             {DNNL_ARG_WEIGHTS, packed},
                                             {DNNL_ARG_DST, desc.dst_desc()},
                                             {DNNL_ARG_SCRATCHPAD, desc.scratchpad_desc()}};
  if (op.bias) arguments.push_back({DNNL_ARG_BIAS, desc.bias_desc()});
  const auto forward = std::make_shared<Primitive>(dnnl::inner_product_forward(desc), arguments);
  const auto pack = std::make_shared<Primitive>(Primitive::reorder(matrix(s.in[1].shape), packed));

  Kernel kernel{.workspace = desc.scratchpad_desc().get_size()};
  if (*pack) {
    kernel.packed = packed.get_size();
    kernel.prepare = [pack](Stream&, const Args& args) { pack->run({args.in[1].data, args.packed, nullptr}); };
  }
  kernel.run = [forward, packs = static_cast<bool>(*pack), bias = op.bias](Stream&, const Args& args) {
    const std::byte* weights = packs ? args.packed : args.in[1].data;
    if (bias)
      forward->run({args.in[0].data, weights, args.out[0].data, args.workspace, args.in[2].data});
    else
      forward->run({args.in[0].data, weights, args.out[0].data, args.workspace});
  };
  return kernel;
}

Kernel make(const DenseDataGradOp&, const Signature& s) {
  const auto desc = dense_data_grad(layouts(s.out[0].shape, s.in[0].shape, s.in[1].shape, false));
  const Desc packed = desc.weights_desc();
  const auto backward =
      std::make_shared<Primitive>(dnnl::inner_product_backward_data(desc),
                                  std::vector<Primitive::Argument>{{DNNL_ARG_DIFF_DST, desc.diff_dst_desc()},
                                                                   {DNNL_ARG_WEIGHTS, packed},
                                                                   {DNNL_ARG_DIFF_SRC, desc.diff_src_desc()},
                                                                   {DNNL_ARG_SCRATCHPAD, desc.scratchpad_desc()}});
  const auto pack = std::make_shared<Primitive>(Primitive::reorder(matrix(s.in[0].shape), packed));

  Kernel kernel{.workspace = desc.scratchpad_desc().get_size()};
  if (*pack) {
    kernel.packed = packed.get_size();
    kernel.prepare = [pack](Stream&, const Args& args) { pack->run({args.in[0].data, args.packed, nullptr}); };
  }
  kernel.run = [backward, packs = static_cast<bool>(*pack)](Stream&, const Args& args) {
    backward->run({args.in[1].data, packs ? args.packed : args.in[0].data, args.out[0].data, args.workspace});
  };
  return kernel;
}

Kernel make(const DenseWeightGradOp& op, const Signature& s) {
  // Our own layout saves a reorder that takes longer than the product itself; only for a few units is oneDNN's faster.
  const Tag tag = s.out[0].shape[0] >= 32 ? Tag::ab : Tag::any;
  const auto desc = dense_weight_grad(layouts(s.in[0].shape, s.out[0].shape, s.in[1].shape, op.bias, tag));
  const Desc made = desc.diff_weights_desc();
  std::vector<Primitive::Argument> arguments{{DNNL_ARG_SRC, desc.src_desc()},
                                             {DNNL_ARG_DIFF_DST, desc.diff_dst_desc()},
                                             {DNNL_ARG_DIFF_WEIGHTS, made},
                                             {DNNL_ARG_SCRATCHPAD, desc.scratchpad_desc()}};
  if (op.bias) arguments.push_back({DNNL_ARG_DIFF_BIAS, desc.diff_bias_desc()});
  const auto backward = std::make_shared<Primitive>(dnnl::inner_product_backward_weights(desc), arguments);
  const auto unpack = std::make_shared<Primitive>(Primitive::reorder(made, matrix(s.out[0].shape)));

  const size_t scratch = aligned(desc.scratchpad_desc().get_size());
  Kernel kernel{.workspace = scratch + (*unpack ? made.get_size() : 0)};
  kernel.run = [=, bias = op.bias](Stream&, const Args& args) {
    std::byte* weights = *unpack ? args.workspace + scratch : args.out[0].data;
    if (bias)
      backward->run({args.in[0].data, args.in[1].data, weights, args.workspace, args.out[1].data});
    else
      backward->run({args.in[0].data, args.in[1].data, weights, args.workspace});
    if (*unpack) unpack->run({weights, args.out[0].data, nullptr});
  };
  return kernel;
}

}  // namespace lockstep::cpu
