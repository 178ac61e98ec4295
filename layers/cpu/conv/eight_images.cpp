#include "layers/cpu/conv/engines.h"

#include <algorithm>

#include "core/plan/memory.h"
#include "layers/cpu/columns.h"
#include "layers/cpu/conv/eight_images_tiles.h"
#include "layers/cpu/parallel.h"

namespace lockstep::cpu {

namespace {

/// A convolution of images [N,height,width,channels] to [N,rows,columns,filters]. Data gradients are one, too: of dy,
/// with the kernel turned about.
struct Sizes {
  Sizes(const Conv2dAttributes& conv, const Shape& x, const Shape& y, Size2 before)
      : images(x[0]),
        height(x[1]),
        width(x[2]),
        channels(x[3]),
        rows(y[1]),
        columns(y[2]),
        filters(y[3]),
        kernel(conv.kernel),
        stride(conv.stride),
        before(before),
        padded(std::max((columns - 1) * stride[1] + kernel[1], before[1] + width)) {}

  int64_t taps() const { return kernel[0] * kernel[1] * channels; }
  int64_t input() const { return height * padded * channels * 8; }  // floats of eight images with their side borders
  int64_t group(int64_t first) const { return std::min<int64_t>(images - first, 8); }
  /// Rows (d = 0) or columns of the kernel, from and to, that meet the image in some of `count` outputs from `at` on.
  Size2 met(size_t d, int64_t at, int64_t count) const {
    const int64_t from = std::max<int64_t>(before[d] - (at + count - 1) * stride[d], 0);
    return {from, std::max(from, std::min(kernel[d], (d == 0 ? height : width) + before[d] - at * stride[d]))};
  }
  /// Eight images side by side, with zeros for their borders: [height][padded][channels][8].
  void fill(const float* from, int64_t count, float* to) const {
    const int64_t row = width * channels, left = before[1] * channels, all = padded * channels;
    parallel_for(height, row * 64, [=, this](int64_t begin, int64_t end) {
      for (int64_t h = begin; h < end; ++h) {
        float* line = to + h * all * 8;
        std::fill_n(line, left * 8, 0.0F);
        interleave(from + h * row, height * row, count, row, line + left * 8);
        std::fill(line + (left + row) * 8, line + all * 8, 0.0F);
      }
    });
  }

  int64_t images, height, width, channels, rows, columns, filters;
  Size2 kernel, stride, before;
  int64_t padded;
};

size_t bytes(int64_t floats) { return aligned(static_cast<size_t>(floats) * sizeof(float)); }

/// One row of outputs of eight images, [columns][filters][8]. `weights`: [filters / tile][kernel][channels][tile].
void convolve_row(const Sizes& s, const float* x, const float* weights, const float* bias, bool relu, int64_t row,
                  float* y) {
  const int64_t filters = tile_filters(s.filters), most = tile_pixels(filters);
  const Size2 rows = s.met(0, row, 1);
  for (int64_t q = 0; q < s.columns; q += most) {
    const int64_t pixels = std::min(most, s.columns - q);
    const Size2 columns = s.met(1, q, pixels);
    const int64_t first = (row * s.stride[0] - s.before[0] + rows[0]) * s.padded + q * s.stride[1] + columns[0];
    ForwardTile tile{.x = x + first * s.channels * 8,
                     .w = weights + (rows[0] * s.kernel[1] + columns[0]) * s.channels * filters,
                     .bias = bias,
                     .y = y + q * s.filters * 8,
                     .pixel_step = s.stride[1] * s.channels,
                     .y_step = s.filters,
                     .rows = rows[1] - rows[0],
                     .count = (columns[1] - columns[0]) * s.channels,
                     .row_step = s.padded * s.channels,
                     .weight_step = s.kernel[1] * s.channels * filters,
                     .relu = relu};
    for (int64_t k = 0; k < s.filters; k += filters) {
      forward_tiles[static_cast<size_t>(pixels - 1)][static_cast<size_t>(filters - 1)](tile);
      tile.w += s.taps() * filters;
      tile.y += filters * 8;
      if (bias) tile.bias += filters;
    }
  }
}

/// The convolution of input `images` with packed weights.
Kernel convolve(const Sizes& sizes, size_t images, bool bias, bool relu) {
  const int64_t blocks = std::min<int64_t>(sizes.rows, 16), line = sizes.columns * sizes.filters * 8;
  const auto run = [=, s = sizes](Stream&, const Args& args) {
    float* x = reinterpret_cast<float*>(args.workspace);
    float* lines = reinterpret_cast<float*>(args.workspace + bytes(s.input()));
    for (int64_t first = 0; first < s.images; first += 8) {
      s.fill(args.in[images].as() + first * s.height * s.width * s.channels, s.group(first), x);
      parallel_for(blocks, s.rows * s.columns * s.filters * 64 / blocks, [&](int64_t begin, int64_t end) {
        for (int64_t block = begin; block < end; ++block)
          for (int64_t row = s.rows * block / blocks; row < s.rows * (block + 1) / blocks; ++row) {
            convolve_row(s, x, reinterpret_cast<const float*>(args.packed), bias ? args.in[2].as() : nullptr, relu, row,
                         lines + block * line);
            separate(lines + block * line, s.rows * s.columns * s.filters, s.group(first), s.columns * s.filters,
                     args.out[0].as() + (first * s.rows + row) * s.columns * s.filters);
          }
      });
    }
  };
  return {.workspace = bytes(sizes.input()) + bytes(blocks * line),
          .packed = bytes(sizes.taps() * sizes.filters),
          .run = run};
}

/// sums [filters / tile][kernel][channels][tile][8] += those of eight images x and dy, for the parts [begin, end) of
/// kernel rows by tiles of filters.
void add_weight_grads(const Sizes& s, const float* x, const float* dy, int64_t begin, int64_t end, float* sums) {
  const int64_t filters = tile_filters(s.filters), most = tile_pixels(filters), across = s.kernel[1] * s.channels;
  // So many rows of dy at a time as stay in the first-level cache with the rows of x that they meet.
  const int64_t dy_row = s.columns * s.filters * 8, x_row = s.padded * s.channels * 8;
  constexpr int64_t cached = 6144;
  const int64_t together = std::max<int64_t>((cached - s.kernel[0] * x_row) / (dy_row + s.stride[0] * x_row), 1);
  for (int64_t p = 0; p < s.rows; p += together)
    for (int64_t part = begin; part < end; ++part) {
      const int64_t r = part % s.kernel[0], k = part / s.kernel[0] * filters;
      // Rows of dy for which row r of the kernel lies in the image.
      int64_t from = p, to = std::min(s.rows, p + together);
      while (from < to && from * s.stride[0] - s.before[0] + r < 0) ++from;
      while (from < to && (to - 1) * s.stride[0] - s.before[0] + r >= s.height) --to;
      if (from == to) continue;
      const float* row = x + (from * s.stride[0] - s.before[0] + r) * x_row;
      for (int64_t i = 0; i < across; i += most) {
        const int64_t values = std::min(most, across - i);
        weight_grad_tiles[static_cast<size_t>(values - 1)][static_cast<size_t>(filters - 1)](
            {.x = row + i * 8,
             .dy = dy + from * dy_row + k * 8,
             .sums = sums + (part * across + i) * filters * 8,
             .pixel_step = s.stride[1] * s.channels,
             .dy_step = s.filters,
             .sum_step = filters,
             .rows = to - from,
             .columns = s.columns,
             .x_row_step = s.stride[0] * s.padded * s.channels,
             .dy_row_step = s.columns * s.filters});
      }
    }
}

/// place(k, r, i): where filter k's weights of row r, value i of the row, lie in packed weights.
struct Packing {
  explicit Packing(const Sizes& s)
      : tile(tile_filters(s.filters)), across(s.kernel[1] * s.channels), rows(s.kernel[0]) {}
  int64_t operator()(int64_t k, int64_t r, int64_t i) const {
    return ((k / tile * rows + r) * across + i) * tile + k % tile;
  }
  int64_t tile, across, rows;
};

Kernel forward(const Convolution& c) {
  const Sizes sizes(c.conv, c.x, c.y, c.conv.pad_before);
  Kernel kernel = convolve(sizes, 0, c.bias, c.relu);
  kernel.prepare = [sizes, at = Packing(sizes)](Stream&, const Args& args) {
    const float* w = args.in[1].as();
    float* packed = reinterpret_cast<float*>(args.packed);
    for (int64_t k = 0; k < sizes.filters; ++k)
      for (int64_t r = 0; r < at.rows; ++r)
        for (int64_t i = 0; i < at.across; ++i) packed[at(k, r, i)] = *w++;
  };
  return kernel;
}

Kernel data_grad(const Convolution& c) {
  const Conv2dAttributes& conv = c.conv;
  const Sizes sizes(conv, c.y, c.x, {conv.kernel[0] - 1 - conv.pad_before[0], conv.kernel[1] - 1 - conv.pad_before[1]});
  Kernel kernel = convolve(sizes, 1, false, false);
  kernel.prepare = [sizes, at = Packing(sizes)](Stream&, const Args& args) {
    const float* w = args.in[0].as();
    float* packed = reinterpret_cast<float*>(args.packed);
    for (int64_t k = 0; k < sizes.channels; ++k)
      for (int64_t r = sizes.kernel[0] - 1; r >= 0; --r)
        for (int64_t s = sizes.kernel[1] - 1; s >= 0; --s)
          for (int64_t i = 0; i < sizes.filters; ++i) packed[at(i, r, s * sizes.channels + k)] = *w++;
  };
  return kernel;
}

Kernel weight_grad(const Convolution& c) {
  const Sizes sizes(c.conv, c.x, c.y, c.conv.pad_before);
  const int64_t grads = c.y[1] * c.y[2] * c.y[3] * 8, sums_floats = sizes.taps() * sizes.filters * 8;
  const size_t dy_at = bytes(sizes.input()), sums_at = dy_at + bytes(grads), bias_at = sums_at + bytes(sums_floats);
  const auto run = [=, bias = c.bias, s = sizes, at = Packing(sizes)](Stream&, const Args& args) {
    float* images = reinterpret_cast<float*>(args.workspace);
    float* dy = reinterpret_cast<float*>(args.workspace + dy_at);
    float* sums = reinterpret_cast<float*>(args.workspace + sums_at);
    const int64_t row = s.columns * s.filters, parts = s.kernel[0] * (s.filters / at.tile);
    std::fill_n(sums, sums_floats, 0.0F);
    for (int64_t first = 0; first < s.images; first += 8) {
      s.fill(args.in[0].as() + first * s.height * s.width * s.channels, s.group(first), images);
      parallel_for(s.rows, row * 64, [&](int64_t begin, int64_t end) {
        for (int64_t p = begin; p < end; ++p)
          interleave(args.in[1].as() + (first * s.rows + p) * row, s.rows * row, s.group(first), row, dy + p * row * 8);
      });
      parallel_for(parts, s.rows * (s.padded * s.channels + row) * 32,
                   [&](int64_t begin, int64_t end) { add_weight_grads(s, images, dy, begin, end, sums); });
    }
    float* dw = args.out[0].as();
    for (int64_t k = 0; k < s.filters; ++k)
      for (int64_t r = 0; r < at.rows; ++r)
        for (int64_t i = 0; i < at.across; ++i) {
          const float* v = sums + at(k, r, i) * 8;
          *dw++ = ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
        }
    if (bias)
      column_sums(args.in[1].as(), s.images * s.rows * s.columns, s.filters, args.out[1].as(),
                  args.workspace + bias_at);
  };
  return {.workspace = bias_at + column_sums_workspace(sizes.filters), .run = run};
}

}  // namespace

bool suits_eight_images(const Convolution& c) {
  const Conv2dAttributes& conv = c.conv;
  const Size2 one{1, 1};
  constexpr int64_t most = 8;
  const bool data_grad = c.pass == Convolution::Pass::data_grad;
  const int64_t images = c.x[0], filters = data_grad ? c.x[3] : c.y[3];
  return conv.groups == 1 && conv.dilation == one && conv.kernel != one && !(data_grad && conv.stride != one) &&
         conv.pad_before[0] < conv.kernel[0] && conv.pad_before[1] < conv.kernel[1] && filters <= most &&
         (images + 7) / 8 * 8 * 3 <= images * 4;
}

Kernel eight_images(const Convolution& c) {
  switch (c.pass) {
    case Convolution::Pass::forward:
      return forward(c);
    case Convolution::Pass::data_grad:
      return data_grad(c);
    default:
      return weight_grad(c);
  }
}

}  // namespace lockstep::cpu
