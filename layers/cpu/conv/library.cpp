#include <algorithm>
#include <array>

#include "layers/cpu/conv/engines.h"
#include "layers/cpu/dnnl/weighted.h"
#include "layers/cpu/parallel.h"

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

ConvolutionLayouts layouts(const Convolution& c) {
  const auto& [pass, conv, x, w, y, bias, relu] = c;
  return {image_layout(x),
          layout_of(weight_dims(w, conv.groups), Tag::any),
          bias ? layout_of({w[0]}, Tag::a) : Desc(),
          image_layout(y),
          {conv.stride[0], conv.stride[1]},
          {conv.dilation[0] - 1, conv.dilation[1] - 1},
          {conv.pad_before[0], conv.pad_before[1]},
          {conv.pad_after[0], conv.pad_after[1]}};
}

/// out[n,p,q,:] = x[n, p * stride[0], q * stride[1], :], of shape `taken`.
void take_strided(const Tensor& x, Size2 stride, const Shape& taken, float* out) {
  const int64_t width = x.shape()[2], channels = taken[3], rows = taken[1], columns = taken[2];
  parallel_for(taken[0] * rows, columns * channels * 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t line = row / rows * x.shape()[1] + row % rows * stride[0];
      const float* from = x.as() + line * width * channels;
      for (int64_t q = 0; q < columns; ++q)
        std::copy_n(from + q * stride[1] * channels, channels, out + (row * columns + q) * channels);
    }
  });
}

}  // namespace

Kernel library_convolution(const Convolution& c) {
  const Desc stored = stored_weights(c.w, c.conv.groups);
  switch (c.pass) {
    case Convolution::Pass::forward: {
      const auto desc = convolution(layouts(c));
      return forward_kernel(dnnl::convolution_forward(desc), desc, stored, {c.bias, c.relu}, c.y.elements());
    }
    case Convolution::Pass::data_grad: {
      const auto desc = convolution_data_grad(layouts(c));
      return data_grad_kernel(dnnl::convolution_backward_data(desc), desc, stored);
    }
    default: {
      const auto desc = convolution_weight_grad(layouts(c));
      return weight_grad_kernel(dnnl::convolution_backward_weights(desc), desc, stored, c.bias);
    }
  }
}

bool suits_taken_pixels(const Convolution& c) {
  const Size2 one{1, 1}, none{0, 0};
  return c.pass == Convolution::Pass::weight_grad && c.conv.kernel == one && c.conv.stride != one &&
         c.conv.pad_before == none && c.conv.pad_after == none;
}

Kernel taken_pixels(const Convolution& c) {
  Convolution dense = c;
  dense.conv.stride = {1, 1};
  dense.x = c.y;
  dense.x[3] = c.x[3];
  Kernel kernel = library_convolution(dense);
  const size_t bytes = aligned(Type{dense.x}.bytes());
  kernel.run = [inner = kernel.run, bytes, taken = dense.x, stride = c.conv.stride](Stream& stream, const Args& args) {
    take_strided(args.in[0], stride, taken, reinterpret_cast<float*>(args.workspace));
    const std::array<Tensor, 2> in{Tensor{args.workspace, {taken}}, args.in[1]};
    Args rest = args;
    rest.in = in;
    rest.workspace = args.workspace + bytes;
    inner(stream, rest);
  };
  kernel.workspace += bytes;
  return kernel;
}

}  // namespace lockstep::cpu
