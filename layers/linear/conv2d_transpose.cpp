#include "layers/linear/conv2d_transpose.h"

#include <algorithm>

#include "core/error.h"
#include "layers/base/check.h"
#include "layers/linear/bias.h"

namespace lockstep {

namespace {

/// Rows (d = 0) or columns (d = 1) of the output for `outputs` of the convolution, as Keras counts them.
int64_t enlarged(const Conv2DTransposeOptions& o, const Window& window, size_t d, int64_t outputs) {
  const int64_t stride = window.stride[d], extent = window.extent(d), more = o.output_padding[d];
  const int64_t covered = (outputs - 1) * stride + extent;
  if (o.padding.kind == Padding::Kind::pixels) {
    const Size2& sides = d == 0 ? o.padding.rows : o.padding.columns;
    return covered - sides[0] - sides[1] + std::max<int64_t>(more, 0);
  }
  if (more < 0) return o.padding == Padding::same ? outputs * stride : covered + std::max<int64_t>(stride - extent, 0);
  return covered - (o.padding == Padding::same ? extent / 2 * 2 : 0) + more;
}

/// The convolution's padding that makes `x` of `y`; of `same`, the odd pixel goes after.
void pad(const Padding& padding, const Shape& x, const Shape& y, Window& window) {
  if (padding.kind == Padding::Kind::pixels) {
    window.pad_before = {padding.rows[0], padding.columns[0]};
    window.pad_after = {padding.rows[1], padding.columns[1]};
  } else if (padding == Padding::same) {
    for (size_t d = 0; d < 2; ++d) {
      const int i = static_cast<int>(d) + 1;
      const int64_t total = std::max<int64_t>((x[i] - 1) * window.stride[d] + window.extent(d) - y[i], 0);
      window.pad_before[d] = total / 2;
      window.pad_after[d] = total - total / 2;
    }
  }
}

}  // namespace

void Conv2DTranspose::describe(Fields& fields) {
  fields.field("filters", filters, true);
  fields.field("kernel_size", kernel_size, true);
  fields.field("strides", options.strides);
  fields.field("padding", options.padding);
  fields.field("output_padding", options.output_padding);
  fields.field("activation", options.activation);
  fields.field("use_bias", options.use_bias);
  fields.field("dilation_rate", options.dilation_rate);
  fields.field("kernel_regularizer", options.kernel_regularizer);
  fields.field("bias_regularizer", options.bias_regularizer);
}

Value Conv2DTranspose::build(Builder& builder, std::span<const Value> in) const {
  const Value input = only_input(in);
  expect_image(builder.type(input));
  if (filters < 1) throw InputError("{} filters, expected at least 1", filters);
  const Shape x = builder.type(input).shape;
  // Checks the sizes; the padding is known when the output is.
  Window window = make_window(kernel_size, options.strides, Padding::valid, x, options.dilation_rate);
  Shape y{x[0], 0, 0, filters};
  for (size_t d = 0; d < 2; ++d) {
    if (options.output_padding[d] >= options.strides[d] || options.output_padding[d] < -1)
      throw InputError("layer '{}': output_padding {} with strides {}: expected less than the stride, or -1",
                       builder.layer(), options.output_padding[d], options.strides[d]);
    const int i = static_cast<int>(d) + 1;
    y[i] = enlarged(options, window, d, x[i]);
    if (y[i] < 1)
      throw InputError("layer '{}': {} would become {} pixels, expected at least 1", builder.layer(),
                       builder.type(input).str(), y[i]);
  }
  pad(options.padding, x, y, window);
  Conv2dAttributes conv = convolve(window);
  conv.transposed = true;
  const int64_t area = kernel_size[0] * kernel_size[1];
  // As Keras counts the fans of (height, width, filters, channels).
  const Value kernel = builder.parameter("kernel", {x[3], kernel_size[0], kernel_size[1], filters},
                                         glorot_uniform(area * filters, area * x[3]), options.kernel_regularizer);
  Value out = builder.add1("", std::make_shared<Conv2dDataGradOp>(conv, y), {kernel, input});
  if (options.use_bias)
    out = builder.add1("bias_add", std::make_shared<BiasOp>(),
                       {out, builder.parameter("bias", {filters}, zeros, options.bias_regularizer)});
  return builder.activate(out, options.activation);
}

}  // namespace lockstep
