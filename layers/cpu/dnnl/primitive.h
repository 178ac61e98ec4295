// oneDNN as the CPU kernels use it: descriptions of the primitives, and one class that runs a primitive on raw
// pointers. Everything that differs between oneDNN 2 and 3 is in v2.cpp and v3.cpp; CMake picks one. Descriptions may
// be made from any thread; a Primitive belongs to one thread at a time.
#pragma once

#include <dnnl.hpp>

#include <memory>
#include <vector>

#include "core/tensor.h"

namespace lockstep::cpu {

/// The one CPU engine of the process; immutable.
const dnnl::engine& cpu_engine();

/// A dense f32 layout: `dims` in oneDNN's logical order, stored as `tag` says; `tag` any lets oneDNN choose.
dnnl::memory::desc layout_of(const dnnl::memory::dims& dims, dnnl::memory::format_tag tag);
/// [N,H,W,C] as oneDNN's NCHW, channels last.
dnnl::memory::desc image_layout(const Shape& nhwc);

/// Scratch memory comes from Kernel::workspace, so no primitive allocates while running; and f32 is computed as f32,
/// whatever ONEDNN_DEFAULT_FPMATH_MODE allows.
dnnl::primitive_attr strict_attributes();

struct ConvolutionLayouts {
  dnnl::memory::desc x, w, b, y;  // b is empty where there is no bias
  dnnl::memory::dims strides, dilates, pad_before, pad_after;  // dilates: pixels skipped, 0 where dense
};
dnnl::convolution_forward::primitive_desc convolution(const ConvolutionLayouts& conv);
dnnl::convolution_backward_data::primitive_desc convolution_data_grad(const ConvolutionLayouts& conv);
dnnl::convolution_backward_weights::primitive_desc convolution_weight_grad(const ConvolutionLayouts& conv);

struct DenseLayouts {
  dnnl::memory::desc x, w, b, y;  // b is empty where there is no bias
};
dnnl::inner_product_forward::primitive_desc dense(const DenseLayouts& dense);
dnnl::inner_product_backward_data::primitive_desc dense_data_grad(const DenseLayouts& dense);
dnnl::inner_product_backward_weights::primitive_desc dense_weight_grad(const DenseLayouts& dense);

/// A primitive and its arguments. The stream of the CPU's kernels is the calling thread, so `run` computes at once.
class Primitive {
 public:
  struct Argument {
    int name;  // DNNL_ARG_SRC, …
    dnnl::memory::desc layout;
  };
  Primitive() = default;
  Primitive(const dnnl::primitive& primitive, const std::vector<Argument>& arguments);
  /// A copy from one layout to another, or nothing where they are equal.
  static Primitive reorder(const dnnl::memory::desc& from, const dnnl::memory::desc& to);

  explicit operator bool() const { return static_cast<bool>(primitive_); }
  /// One address an argument, in the order they were given. Does not allocate.
  void run(std::initializer_list<const void*> addresses);

 private:
  dnnl::stream stream_;
  dnnl::primitive primitive_;
  std::vector<dnnl::memory> memories_;
  std::vector<dnnl_exec_arg_t> arguments_;
};

}  // namespace lockstep::cpu
