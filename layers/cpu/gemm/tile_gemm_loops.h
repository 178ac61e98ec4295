// The loops of TileGemm for one type of vector; included by one source file an instruction set, which is compiled
// so that a * b + c is one fused operation.
#pragma once

#include <cstring>
#include <type_traits>

#include "layers/cpu/gemm/tile_gemm.h"

namespace lockstep::cpu {
namespace {

template <class V>
struct Loops {
  static constexpr int lanes = sizeof(V) / sizeof(float);
  static constexpr int across = panel / lanes;  // vectors in a row of a panel
  // Where a row of a panel is one vector, two panels share what is loaded of a: loads would be the limit.
  static constexpr int together = across == 1 ? 2 : 1;
  static constexpr int most_rows(int panels) { return across == 1 ? (panels == 1 ? 14 : 12) : 6; }
  static constexpr int most_outer_rows(int panels) { return across == 1 ? (panels == 1 ? 16 : 12) : 4; }

  static V load(const float* from) {
    V v;
    std::memcpy(&v, from, sizeof v);
    return v;
  }
  static void store(float* to, V v) { std::memcpy(to, &v, sizeof v); }

  /// Calls body(i, count) for blocks of no more than `Most` of n rows, with the count as a constant. They are as even
  /// as can be: a block of few rows waits for its own sums.
  template <int Most, class Body>
  static void each_rows(int64_t n, Body body) {
    const int64_t blocks = (n + Most - 1) / Most;
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t i = n * block / blocks;
      constant_rows<Most>(i, n * (block + 1) / blocks - i, body);
    }
  }
  template <int Rows, class Body>
  static void constant_rows(int64_t i, int64_t count, const Body& body) {
    if constexpr (Rows > 0) {
      if (count == Rows) return body(i, std::integral_constant<int, Rows>{});
      constant_rows<Rows - 1>(i, count, body);
    }
  }

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

  template <int Panels>
  static void product_panels(const float* a, const float* b, float* c, int64_t rows, int64_t depth) {
    each_rows<most_rows(Panels)>(
        rows, [&](int64_t i, auto count) __attribute__((always_inline)) {
          product_block<count(), Panels>(a + i * panel, b, c + i * panel, rows, depth);
        });
  }

  static void product(const float* a, const float* b, float* c, int64_t rows, int64_t depth, int64_t panels) {
    int64_t p = 0;
    for (; p + together <= panels; p += together)
      product_panels<together>(a, b + p * depth * panel, c + p * rows * panel, rows, depth);
    if (p < panels) product_panels<1>(a, b + p * depth * panel, c + p * rows * panel, rows, depth);
  }

  /// `Rows` rows of some panels of c.
  template <int Rows, int Panels>
  static void outer_block(const float* a, int64_t a_step, const float* b, int64_t b_step, int64_t b_panel, float* c,
                          int64_t c_panel, int64_t rows) {
    constexpr int vectors = Panels * across;
    V sum[Rows][vectors] = {};
    for (int64_t t = 0; t < rows; ++t, a += a_step, b += b_step) {
      V right[vectors];
      for (int v = 0; v < vectors; ++v) right[v] = load(b + v / across * b_panel + v % across * lanes);
#pragma GCC unroll 16
      for (int k = 0; k < Rows; ++k)
        for (int v = 0; v < vectors; ++v) sum[k][v] = a[k] * right[v] + sum[k][v];
    }
    for (int k = 0; k < Rows; ++k)
      for (int v = 0; v < vectors; ++v) {
        float* to = c + v / across * c_panel + k * panel + v % across * lanes;
        store(to, load(to) + sum[k][v]);
      }
  }

  template <int Panels>
  static void correlate_panels(const float* a, int64_t a_step, const float* b, int64_t b_step, int64_t b_panel,
                               float* c, int64_t c_panel, int64_t rows, int64_t m) {
    each_rows<most_outer_rows(Panels)>(
        m, [&](int64_t i, auto count) __attribute__((always_inline)) {
          outer_block<count(), Panels>(a + i, a_step, b, b_step, b_panel, c + i * panel, c_panel, rows);
        });
  }

  static void correlate(const float* a, int64_t a_step, const float* b, int64_t b_step, int64_t b_panel, float* c,
                        int64_t c_panel, int64_t rows, int64_t m, int64_t panels) {
    int64_t p = 0;
    for (; p + together <= panels; p += together)
      correlate_panels<together>(a, a_step, b + p * b_panel, b_step, b_panel, c + p * c_panel, c_panel, rows, m);
    if (p < panels) correlate_panels<1>(a, a_step, b + p * b_panel, b_step, b_panel, c + p * c_panel, c_panel, rows, m);
  }

  static void outer(const float* a, const float* b, float* c, int64_t rows, int64_t m, int64_t panels) {
    for (int64_t i = 0; i < m; i += panel)
      correlate(a + i * rows, panel, b, panel, rows * panel, c + i * panel, m * panel, rows, panel, panels);
  }

  static constexpr TileGemm all{product, outer, correlate};
};

}  // namespace
}  // namespace lockstep::cpu
