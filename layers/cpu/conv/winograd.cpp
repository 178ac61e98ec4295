#include "layers/cpu/conv/engines.h"

#include <algorithm>

#include "core/plan/memory.h"
#include "layers/cpu/columns.h"
#include "layers/cpu/conv/winograd_tiles.h"
#include "layers/cpu/conv/winograd_transforms.h"
#include "layers/cpu/gemm/tile_gemm.h"
#include "layers/cpu/parallel.h"
#include "layers/cpu/vec.h"

namespace lockstep::cpu {

namespace {

/// With blocks of tiles whose transformed values stay in the cache.
struct Tiling : TileGrid {
  Tiling(const Shape& x, const Shape& y, Size2 pad)
      : TileGrid{.height = x[1],
                 .width = x[2],
                 .channels = x[3],
                 .rows = y[1],
                 .columns = y[2],
                 .filters = y[3],
                 .pad = {pad[0], pad[1]},
                 .across = (y[2] + 1) / 2,
                 .down = (y[1] + 1) / 2},
        tiles(y[0] * down * across) {
    constexpr int64_t cached = 1 << 17, least = 84;
    const int64_t most = std::max(cached / (places * (channels + filters)), least);
    const int64_t blocks = (tiles + most - 1) / most;
    block = (tiles + blocks - 1) / blocks;
  }

  /// Calls body(first, count) for each block.
  template <class Body>
  void each_block(Body body) const {
    for (int64_t first = 0; first < tiles; first += block) body(first, std::min(block, tiles - first));
  }

  int64_t tiles, block = 0;
};

const WinogradTiles& loops() {
  static const WinogradTiles& chosen = has_avx512() ? winograd_tiles_16 : winograd_tiles_8;
  return chosen;
}

void transform_inputs(const Tiling& t, const float* images, int64_t first, int64_t count, float* to) {
  parallel_for(count, t.channels * (places + places) * 4,
               [=, &t](int64_t begin, int64_t end) { loops().inputs(t, images, first, count, begin, end, to); });
}

void transform_output_grads(const Tiling& t, const float* dy, int64_t first, int64_t count, float* to) {
  parallel_for(count, t.filters * (4 + places) * 4,
               [=, &t](int64_t begin, int64_t end) { loops().output_grads(t, dy, first, count, begin, end, to); });
}

void transform_outputs(const Tiling& t, const float* from, int64_t first, int64_t count, const float* bias, bool relus,
                       float* images) {
  parallel_for(count, t.filters * (4 + places) * 4, [=, &t](int64_t begin, int64_t end) {
    loops().outputs(t, from, first, count, begin, end, bias, relus, images);
  });
}

/// The 3x3 weights of 8 channels from `channel` on of filter k, where w is [K,3,3,C]; turned about where `turned`.
[[gnu::always_inline]] inline void load_weights(const float* w, int64_t channels, int64_t k, int64_t channel,
                                                bool turned, Vec (&g)[3][3]) {
  for (int64_t i = 0; i < 9; ++i) g[i / 3][i % 3] = load<Vec>(w + (k * 9 + (turned ? 8 - i : i)) * channels + channel);
}

/// [K,3,3,C] into [16][K / 16][C][16].
void pack_forward(const float* w, int64_t filters, int64_t channels, float* to) {
  parallel_for(filters / panel, channels * panel * (9 + places) * 4, [=](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p)
      for (int64_t c = 0; c < channels; c += 8) {
        float turned[places][panel][8];
        for (int64_t k = 0; k < panel; ++k) {
          Vec g[3][3], u[4][4];
          load_weights(w, channels, p * panel + k, c, false, g);
          transform_weights(g, u);
          for (int64_t i = 0; i < places; ++i) store(turned[i][k], u[i / 4][i % 4]);
        }
        for (int64_t i = 0; i < places; ++i)
          for (int64_t e = 0; e < 8; ++e)
            for (int64_t k = 0; k < panel; ++k)
              to[((i * (filters / panel) + p) * channels + c + e) * panel + k] = turned[i][k][e];
      }
  });
}

/// [K,3,3,C], each kernel turned about, into [16][C / 16][K][16].
void pack_data_grad(const float* w, int64_t filters, int64_t channels, float* to) {
  parallel_for(filters, channels * (9 + places) * 4, [=](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k)
      for (int64_t c = 0; c < channels; c += 8) {
        Vec g[3][3], u[4][4];
        load_weights(w, channels, k, c, true, g);
        transform_weights(g, u);
        for (int64_t i = 0; i < places; ++i)
          store(to + ((i * (channels / panel) + c / panel) * filters + k) * panel + c % panel, u[i / 4][i % 4]);
      }
  });
}

/// [16][C / 16][K][16] into [K,3,3,C].
void unpack_weight_grad(const float* u, int64_t channels, int64_t filters, float* dw) {
  parallel_for(filters, channels * (9 + places) * 4, [=](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k)
      for (int64_t c = 0; c < channels; c += 8) {
        Vec from[4][4], to[3][3];
        for (int64_t i = 0; i < places; ++i)
          from[i / 4][i % 4] = load<Vec>(u + ((i * (channels / panel) + c / panel) * filters + k) * panel + c % panel);
        transform_weights_grad(from, to);
        for (int64_t i = 0; i < 9; ++i) store(dw + (k * 9 + i) * channels + c, to[i / 3][i % 3]);
      }
  });
}

/// Calls body(place) for each of the 16 products of so many bytes.
template <class Body>
void each_place(int64_t bytes, Body body) {
  parallel_for(places, bytes, [&](int64_t begin, int64_t end) {
    for (int64_t place = begin; place < end; ++place) body(place);
  });
}

size_t floats(int64_t count) { return aligned(static_cast<size_t>(count) * sizeof(float)); }

/// The convolution of input 0 or 1 (`images`) with packed weights.
Kernel convolve(const Tiling& tiling, size_t images, bool bias, bool relus) {
  const int64_t inputs = tiling.channels * tiling.block * places, outputs = tiling.filters * tiling.block * places;
  const auto run = [=](Stream&, const Args& args) {
    const Tiling& t = tiling;
    float* v = reinterpret_cast<float*>(args.workspace);
    float* m = reinterpret_cast<float*>(args.workspace + floats(inputs));
    const float* u = reinterpret_cast<const float*>(args.packed);
    const float* added = bias ? args.in[2].as() : nullptr;
    t.each_block([&](int64_t first, int64_t count) {
      transform_inputs(t, args.in[images].as(), first, count, v);
      each_place((t.channels + t.filters) * count * 4, [&](int64_t i) {
        tile_gemm().product(v + i * t.channels * count, u + i * t.channels * t.filters, m + i * t.filters * count,
                            count, t.channels, t.filters / panel);
      });
      transform_outputs(t, m, first, count, added, relus, args.out[0].as());
    });
  };
  return {.workspace = floats(inputs) + floats(outputs),
          .packed = floats(places * tiling.channels * tiling.filters),
          .run = run};
}

Kernel forward(const Convolution& c) {
  Kernel kernel = convolve(Tiling(c.x, c.y, c.conv.pad_before), 0, c.bias, c.relu);
  kernel.prepare = [filters = c.y[3], channels = c.x[3]](Stream&, const Args& args) {
    pack_forward(args.in[1].as(), filters, channels, reinterpret_cast<float*>(args.packed));
  };
  return kernel;
}

Kernel data_grad(const Convolution& c) {
  // A convolution of dy with the kernels turned about, padded by what the forward one leaves of them.
  Kernel kernel = convolve(Tiling(c.y, c.x, {2 - c.conv.pad_before[0], 2 - c.conv.pad_before[1]}), 1, false, false);
  kernel.prepare = [filters = c.y[3], channels = c.x[3]](Stream&, const Args& args) {
    pack_data_grad(args.in[0].as(), filters, channels, reinterpret_cast<float*>(args.packed));
  };
  return kernel;
}

Kernel weight_grad(const Convolution& c) {
  const Tiling tiling(c.x, c.y, c.conv.pad_before);
  const int64_t channels = c.x[3], filters = c.y[3];
  const int64_t inputs = channels * tiling.block * places, grads = filters * tiling.block * places;
  // Where there is one block of tiles, its sums are made for some filters at a time, so that they stay in the cache.
  const bool one_block = tiling.block == tiling.tiles;
  const int64_t together = one_block ? panel : filters, sums = places * channels * together;
  const auto run = [=, rows = c.y[0] * c.y[1] * c.y[2], bias = c.bias](Stream&, const Args& args) {
    const Tiling& t = tiling;
    float* v = reinterpret_cast<float*>(args.workspace);
    float* d = reinterpret_cast<float*>(args.workspace + floats(inputs));
    float* u = reinterpret_cast<float*>(args.workspace + floats(inputs) + floats(grads));
    const float* dy = args.in[1].as();
    float* dw = args.out[0].as();
    const auto add = [&](int64_t count, int64_t first_filter) {
      each_place((channels + together) * count * 4, [&](int64_t i) {
        tile_gemm().outer(d + (i * filters + first_filter) * count, v + i * channels * count,
                          u + i * channels * together, count, together, channels / panel);
      });
    };
    std::fill_n(u, sums, 0.0F);
    t.each_block([&](int64_t first, int64_t count) {
      transform_inputs(t, args.in[0].as(), first, count, v);
      transform_output_grads(t, dy, first, count, d);
      if (!one_block) add(count, 0);
    });
    for (int64_t k = 0; k < filters; k += together) {
      if (one_block) {
        if (k > 0) std::fill_n(u, sums, 0.0F);
        add(t.tiles, k);
      }
      unpack_weight_grad(u, channels, together, dw + k * 9 * channels);
    }
    if (bias)
      column_sums(dy, rows, filters, args.out[1].as(), args.workspace + floats(inputs) + floats(grads) + floats(sums));
  };
  return {.workspace = floats(inputs) + floats(grads) + floats(sums) + column_sums_workspace(filters), .run = run};
}

}  // namespace

bool suits_winograd(const Convolution& c) {
  const Conv2dAttributes& conv = c.conv;
  const Size2 one{1, 1}, three{3, 3};
  if (conv.kernel != three || conv.stride != one || conv.dilation != one || conv.groups != 1) return false;
  if (std::max({conv.pad_before[0], conv.pad_before[1], conv.pad_after[0], conv.pad_after[1]}) > 2) return false;
  constexpr int64_t least_channels = 32, least_tiles = 16;
  const int64_t channels = c.x[3], filters = c.y[3];
  return channels % panel == 0 && filters % panel == 0 && std::min(channels, filters) >= least_channels &&
         Tiling(c.x, c.y, conv.pad_before).tiles >= least_tiles;
}

Kernel winograd(const Convolution& c) {
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
