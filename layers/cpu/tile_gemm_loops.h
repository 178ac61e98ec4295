// The loops of TileGemm for one type of vector; included by one source file an instruction set, which is compiled
// so that a * b + c is one fused operation.
#pragma once

#include <algorithm>
#include <cstring>

#include "layers/cpu/tile_gemm.h"

namespace lockstep::cpu {
namespace {

template <class V>
struct Loops {
  static constexpr int lanes = sizeof(V) / sizeof(float);
  static constexpr int across = panel / lanes;  // vectors in a row of a panel
  // Where a row of a panel is one vector, two panels share what is loaded of a: loads would be the limit.
  static constexpr int together = across == 1 ? 2 : 1;
  static constexpr int outer_rows = across == 1 ? 16 : 4;
  static constexpr int most_rows(int panels) { return across == 1 ? (panels == 1 ? 14 : 12) : 6; }

  static V load(const float* from) {
    V v;
    std::memcpy(&v, from, sizeof v);
    return v;
  }
  static void store(float* to, V v) { std::memcpy(to, &v, sizeof v); }

  /// `Rows` rows of some panels of c.
  template <int Rows, int Panels>
  static void product_block(const float* a, const float* b, float* c, int64_t rows, int64_t depth) {
    constexpr int vectors = Panels * across;
    V sum[Rows][vectors] = {};
    for (int64_t d = 0; d < depth; d += panel, a += rows * panel)
      for (int64_t e = 0; e < panel; ++e, b += panel) {
        V right[vectors];
        for (int v = 0; v < vectors; ++v) right[v] = load(b + v / across * depth * panel + v % across * lanes);
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i)
          for (int v = 0; v < vectors; ++v) sum[i][v] = a[i * panel + e] * right[v] + sum[i][v];
      }
    for (int i = 0; i < Rows; ++i)
      for (int v = 0; v < vectors; ++v)
        store(c + v / across * rows * panel + i * panel + v % across * lanes, sum[i][v]);
  }

  /// The last rows, fewer than most_rows.
  template <int Rows, int Panels>
  static void product_rest(const float* a, const float* b, float* c, int64_t rows, int64_t depth, int64_t left) {
    if constexpr (Rows > 0) {
      if (left == Rows) return product_block<Rows, Panels>(a, b, c, rows, depth);
      product_rest<Rows - 1, Panels>(a, b, c, rows, depth, left);
    }
  }

  template <int Panels>
  static void product_panels(const float* a, const float* b, float* c, int64_t rows, int64_t depth) {
    constexpr int most = most_rows(Panels);
    int64_t i = 0;
    for (; i + most <= rows; i += most) product_block<most, Panels>(a + i * panel, b, c + i * panel, rows, depth);
    product_rest<most - 1, Panels>(a + i * panel, b, c + i * panel, rows, depth, rows - i);
  }

  static void product(const float* a, const float* b, float* c, int64_t rows, int64_t depth, int64_t panels) {
    int64_t p = 0;
    for (; p + together <= panels; p += together)
      product_panels<together>(a, b + p * depth * panel, c + p * rows * panel, rows, depth);
    if (p < panels) product_panels<1>(a, b + p * depth * panel, c + p * rows * panel, rows, depth);
  }

  /// `Rows` rows of one panel of c.
  template <int Rows>
  static void outer_block(const float* a, int64_t a_step, const float* b, int64_t b_step, float* c, int64_t rows) {
    V sum[Rows][across] = {};
    for (int64_t t = 0; t < rows; ++t, a += a_step, b += b_step) {
      V right[across];
      for (int v = 0; v < across; ++v) right[v] = load(b + v * lanes);
#pragma GCC unroll 16
      for (int k = 0; k < Rows; ++k)
        for (int v = 0; v < across; ++v) sum[k][v] = a[k] * right[v] + sum[k][v];
    }
    for (int k = 0; k < Rows; ++k)
      for (int v = 0; v < across; ++v) {
        float* to = c + k * panel + v * lanes;
        store(to, load(to) + sum[k][v]);
      }
  }

  /// The last rows, fewer than outer_rows.
  template <int Rows>
  static void outer_rest(const float* a, int64_t a_step, const float* b, int64_t b_step, float* c, int64_t rows,
                         int64_t left) {
    if constexpr (Rows > 0) {
      if (left == Rows) return outer_block<Rows>(a, a_step, b, b_step, c, rows);
      outer_rest<Rows - 1>(a, a_step, b, b_step, c, rows, left);
    }
  }

  static void correlate(const float* a, int64_t a_step, const float* b, int64_t b_step, float* c, int64_t rows,
                        int64_t m) {
    int64_t i = 0;
    for (; i + outer_rows <= m; i += outer_rows) outer_block<outer_rows>(a + i, a_step, b, b_step, c + i * panel, rows);
    outer_rest<outer_rows - 1>(a + i, a_step, b, b_step, c + i * panel, rows, m - i);
  }

  static void outer(const float* a, const float* b, float* c, int64_t rows, int64_t m, int64_t panels) {
    for (int64_t p = 0; p < panels; ++p, b += rows * panel, c += m * panel)
      for (int64_t i = 0; i < m; i += panel) correlate(a + i * rows, panel, b, panel, c + i * panel, rows, panel);
  }

  static constexpr TileGemm all{product, outer, correlate};
};

}  // namespace
}  // namespace lockstep::cpu
