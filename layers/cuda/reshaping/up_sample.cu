#include "layers/reshaping/up_sample.h"

#include "layers/cuda/context.h"
#include "layers/cuda/pooling/pool.cuh"

namespace lockstep::cuda {

namespace {

/// An output is (1 - share) * input[low] + share * input[high].
struct Between {
  int low, high;
  float share;
};

/// One direction of an enlargement, see Enlargement.
struct Direction {
  int factor, length, in_begin, out_begin, out_end;
  Divider by_factor, by_parts;  // of a pixel, in which a place between two is counted: 2 factor
  bool nearest;

  /// Where output i lies, i counted in the whole direction.
  __device__ Between between(int i) const {
    if (nearest) return {by_factor(i), by_factor(i), 0.0F};
    const int place = 2 * i + 1 - factor;
    if (place <= 0) return {0, 0, 0.0F};
    const int low = by_parts(place);
    if (low + 1 >= length) return {length - 1, length - 1, 0.0F};
    return {low, low + 1, static_cast<float>(place - low * 2 * factor) / static_cast<float>(2 * factor)};
  }
  /// What output i takes of input h.
  __device__ float taken(int i, int h) const {
    const Between b = between(i);
    return (b.low == h ? 1 - b.share : 0.0F) + (b.high == h ? b.share : 0.0F);
  }
  /// The outputs here that may take something of input h: from first_taker to below last_taker.
  __device__ int first_taker(int h) const {
    return max(nearest ? factor * h : factor * (h - 1) + factor / 2, out_begin);
  }
  __device__ int last_taker(int h) const { return min(factor * (h + 1) + (nearest ? 0 : factor / 2), out_end); }
};

Direction direction(const Enlargement& e, Interpolation interpolation) {
  // `build` has made sure that all of these can be counted.
  const auto number = [](int64_t n) { return static_cast<int>(n); };
  return {number(e.factor),
          number(e.length),
          number(e.in.begin),
          number(e.out.begin),
          number(e.out.end),
          Divider(number(e.factor)),
          Divider(number(2 * e.factor)),
          interpolation == Interpolation::nearest};
}

template <class T, int Size>
__global__ void up_sample_kernel(Pooling s, Direction height, Direction width, const T* x, T* y) {
  each_pixel<Size>(s, s.height.outputs, s.width.outputs, [&](int image, int p, int q, int c) {
    const Between row = height.between(height.out_begin + p), column = width.between(width.out_begin + q);
    const auto at = [&](int h, int w) {
      return load_pack<T, Size>(x + place_in_x(s, image, h - height.in_begin, w - width.in_begin, c));
    };
    const Pack<T, Size> first = at(row.low, column.low);
    T* const to = y + place_in_y(s, image, p, q, c);
    if (height.nearest) {
      *reinterpret_cast<Pack<T, Size>*>(to) = first;
      return;
    }
    const Pack<T, Size> right = at(row.low, column.high), below = at(row.high, column.low),
                        last = at(row.high, column.high);
    float out[Size];
#pragma unroll
    for (int k = 0; k < Size; ++k) {
      const float upper = (1 - column.share) * element(first, k) + column.share * element(right, k);
      const float lower = (1 - column.share) * element(below, k) + column.share * element(last, k);
      out[k] = (1 - row.share) * upper + row.share * lower;
    }
    store_pack<T, Size>(to, out);
  });
}

/// As in pooling, each input asks the outputs that may take something of it.
template <class T, int Size>
__global__ void up_sample_grad_kernel(Pooling s, Direction height, Direction width, const T* dy, T* dx) {
  each_pixel<Size>(s, s.height.length, s.width.length, [&](int image, int h, int w, int c) {
    const int row = height.in_begin + h, column = width.in_begin + w;
    float sum[Size] = {};
    for (int i = height.first_taker(row); i < height.last_taker(row); ++i) {
      float of_row[Size] = {};
      for (int j = width.first_taker(column); j < width.last_taker(column); ++j) {
        const Pack<T, Size> in =
            load_pack<T, Size>(dy + place_in_y(s, image, i - height.out_begin, j - width.out_begin, c));
        const float share = width.taken(j, column);
#pragma unroll
        for (int k = 0; k < Size; ++k) of_row[k] += share * element(in, k);
      }
      const float share = height.taken(i, row);
#pragma unroll
      for (int k = 0; k < Size; ++k) sum[k] += share * of_row[k];
    }
    store_pack<T, Size>(dx + place_in_x(s, image, h, w, c), sum);
  });
}

}  // namespace

Kernel make(const UpSampleOp& op, const Signature& signature, const SharedContext&) {
  const Type &x = signature.in[0], &y = signature.out[0];
  const Pooling s = pooling({}, x.shape, y.shape, x.dtype);
  const Direction height = direction(op.size[0], op.interpolation), width = direction(op.size[1], op.interpolation);
  return {.run = [=](Stream& stream, const Args& args) {
    if (y.shape.elements() == 0) return;
    with_packs(y.dtype, s.channels, [&]<class T, int Size>(T, std::integral_constant<int, Size>) {
      launch(stream, pool_grid(y.shape[2] * s.packs, y.shape[1], y.shape[0]), up_sample_kernel<T, Size>, s, height,
             width, args.in[0].as<const T>(), args.out[0].as<T>());
    });
  }};
}

Kernel make(const UpSampleGradOp& op, const Signature& signature, const SharedContext&) {
  const Type &x = signature.out[0], &y = signature.in[0];
  const Pooling s = pooling({}, x.shape, y.shape, x.dtype);
  const Direction height = direction(op.size[0], op.interpolation), width = direction(op.size[1], op.interpolation);
  return {.run = [=](Stream& stream, const Args& args) {
    if (x.shape.elements() == 0) return;
    with_packs(x.dtype, s.channels, [&]<class T, int Size>(T, std::integral_constant<int, Size>) {
      launch(stream, pool_grid(x.shape[2] * s.packs, x.shape[1], x.shape[0]), up_sample_grad_kernel<T, Size>, s, height,
             width, args.in[0].as<const T>(), args.out[0].as<T>());
    });
  }};
}

}  // namespace lockstep::cuda
