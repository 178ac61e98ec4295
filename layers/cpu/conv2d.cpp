#include "layers/conv2d.h"

#include <memory>

#include "core/plan/memory.h"
#include "layers/cpu/dnnl/primitive.h"
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
  const auto desc = convolution(layouts(op.conv, s.in[0].shape, s.in[1].shape, s.out[0].shape, op.bias), op.relu);
  const Desc packed = desc.weights_desc();
  std::vector<Primitive::Argument> arguments{{DNNL_ARG_SRC, desc.src_desc()},
                                             {DNNL_ARG_WEIGHTS, packed},
                                             {DNNL_ARG_DST, desc.dst_desc()},
                                             {DNNL_ARG_SCRATCHPAD, desc.scratchpad_desc()}};
  if (op.bias) arguments.push_back({DNNL_ARG_BIAS, desc.bias_desc()});
  const auto forward = std::make_shared<Primitive>(dnnl::convolution_forward(desc), arguments);
  const auto pack =
      std::make_shared<Primitive>(Primitive::reorder(stored_weights(s.in[1].shape, op.conv.groups), packed));

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

Kernel make(const Conv2dDataGradOp& op, const Signature& s) {
  const auto desc = convolution_data_grad(layouts(op.conv, s.out[0].shape, s.in[0].shape, s.in[1].shape, false));
  const Desc packed = desc.weights_desc();
  const auto backward =
      std::make_shared<Primitive>(dnnl::convolution_backward_data(desc),
                                  std::vector<Primitive::Argument>{{DNNL_ARG_DIFF_DST, desc.diff_dst_desc()},
                                                                   {DNNL_ARG_WEIGHTS, packed},
                                                                   {DNNL_ARG_DIFF_SRC, desc.diff_src_desc()},
                                                                   {DNNL_ARG_SCRATCHPAD, desc.scratchpad_desc()}});
  const auto pack =
      std::make_shared<Primitive>(Primitive::reorder(stored_weights(s.in[0].shape, op.conv.groups), packed));

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

Kernel make(const Conv2dWeightGradOp& op, const Signature& s) {
  const auto desc = convolution_weight_grad(layouts(op.conv, s.in[0].shape, s.out[0].shape, s.in[1].shape, op.bias));
  const Desc made = desc.diff_weights_desc();
  std::vector<Primitive::Argument> arguments{{DNNL_ARG_SRC, desc.src_desc()},
                                             {DNNL_ARG_DIFF_DST, desc.diff_dst_desc()},
                                             {DNNL_ARG_DIFF_WEIGHTS, made},
                                             {DNNL_ARG_SCRATCHPAD, desc.scratchpad_desc()}};
  if (op.bias) arguments.push_back({DNNL_ARG_DIFF_BIAS, desc.diff_bias_desc()});
  const auto backward = std::make_shared<Primitive>(dnnl::convolution_backward_weights(desc), arguments);
  const auto unpack =
      std::make_shared<Primitive>(Primitive::reorder(made, stored_weights(s.out[0].shape, op.conv.groups)));

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
