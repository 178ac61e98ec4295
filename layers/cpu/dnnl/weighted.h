// Kernels of operators with weights, made from oneDNN's descriptions: convolution and inner product alike. `Desc` is
// one of dnnl's primitive_desc; `stored` is how our weights lie in memory, which need not be how the library wants
// them. Kernels belong to one thread, as Primitive does.
#pragma once

#include "core/graph/kernel.h"
#include "core/plan/memory.h"
#include "layers/cpu/activations/relu.h"
#include "layers/cpu/dnnl/primitive.h"

namespace lockstep::cpu {

/// Packs the weights (input `weights`) once a step where `wanted` differs from how they are stored.
inline bool pack_weights(Kernel& kernel, size_t weights, const dnnl::memory::desc& stored,
                         const dnnl::memory::desc& wanted) {
  const auto pack = std::make_shared<Primitive>(Primitive::reorder(stored, wanted));
  if (!*pack) return false;
  kernel.packed = wanted.get_size();
  kernel.prepare = [pack, weights](Stream&, const Args& args) {
    pack->run({args.in[weights].data, args.packed, nullptr});
  };
  return true;
}

/// What follows a product. The library's own ReLU is not used: it turns NaN into 0, and a broken run would look well.
struct Epilogue {
  bool bias = false, relu = false;
};

/// Inputs: x, weights, and bias where there is one. Output: y, `elements` floats.
template <class Desc>
Kernel forward_kernel(const dnnl::primitive& primitive, const Desc& desc, const dnnl::memory::desc& stored,
                      Epilogue epilogue, int64_t elements) {
  std::vector<Primitive::Argument> arguments{{DNNL_ARG_SRC, desc.src_desc()},
                                             {DNNL_ARG_WEIGHTS, desc.weights_desc()},
                                             {DNNL_ARG_DST, desc.dst_desc()},
                                             {DNNL_ARG_SCRATCHPAD, desc.scratchpad_desc()}};
  if (epilogue.bias) arguments.push_back({DNNL_ARG_BIAS, desc.bias_desc()});
  const auto forward = std::make_shared<Primitive>(primitive, arguments);
  Kernel kernel{.workspace = desc.scratchpad_desc().get_size()};
  const bool packs = pack_weights(kernel, 1, stored, desc.weights_desc());
  kernel.run = [forward, packs, epilogue, elements](Stream&, const Args& args) {
    const std::byte* weights = packs ? args.packed : args.in[1].data;
    if (epilogue.bias)
      forward->run({args.in[0].data, weights, args.out[0].data, args.workspace, args.in[2].data});
    else
      forward->run({args.in[0].data, weights, args.out[0].data, args.workspace});
    if (epilogue.relu) relu(args.out[0].as(), args.out[0].as(), elements);
  };
  return kernel;
}

/// Inputs: weights, dy. Output: dx.
template <class Desc>
Kernel data_grad_kernel(const dnnl::primitive& primitive, const Desc& desc, const dnnl::memory::desc& stored) {
  const auto backward = std::make_shared<Primitive>(
      primitive, std::vector<Primitive::Argument>{{DNNL_ARG_DIFF_DST, desc.diff_dst_desc()},
                                                  {DNNL_ARG_WEIGHTS, desc.weights_desc()},
                                                  {DNNL_ARG_DIFF_SRC, desc.diff_src_desc()},
                                                  {DNNL_ARG_SCRATCHPAD, desc.scratchpad_desc()}});
  Kernel kernel{.workspace = desc.scratchpad_desc().get_size()};
  const bool packs = pack_weights(kernel, 0, stored, desc.weights_desc());
  kernel.run = [backward, packs](Stream&, const Args& args) {
    backward->run({args.in[1].data, packs ? args.packed : args.in[0].data, args.out[0].data, args.workspace});
  };
  return kernel;
}

/// Inputs: x, dy. Outputs: the weights' gradient, and the bias' where `bias`.
template <class Desc>
Kernel weight_grad_kernel(const dnnl::primitive& primitive, const Desc& desc, const dnnl::memory::desc& stored,
                          bool bias) {
  const dnnl::memory::desc made = desc.diff_weights_desc();
  std::vector<Primitive::Argument> arguments{{DNNL_ARG_SRC, desc.src_desc()},
                                             {DNNL_ARG_DIFF_DST, desc.diff_dst_desc()},
                                             {DNNL_ARG_DIFF_WEIGHTS, made},
                                             {DNNL_ARG_SCRATCHPAD, desc.scratchpad_desc()}};
  if (bias) arguments.push_back({DNNL_ARG_DIFF_BIAS, desc.diff_bias_desc()});
  const auto backward = std::make_shared<Primitive>(primitive, arguments);
  const auto unpack = std::make_shared<Primitive>(Primitive::reorder(made, stored));

  const size_t scratch = aligned(desc.scratchpad_desc().get_size());
  Kernel kernel{.workspace = scratch + (*unpack ? made.get_size() : 0)};
  kernel.run = [=](Stream&, const Args& args) {
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
