// The linear maps of Winograd's F(2x2, 3x3) on vectors of channels. Lavin and Gray, "Fast algorithms for convolutional
// neural networks", CVPR 2016, section 4.1: Y = A^T [(G g G^T) . (B^T d B)] A. All factors are 0, 1/2 and 1: integers
// stay exact.
#pragma once

#include "layers/cpu/vec.h"

namespace lockstep::cpu {

/// A map of one row or column, given by `one(from, to)`, along both axes: in [M][M] to out [L][L], row by row.
template <int M, int L, class V, class One>
[[gnu::always_inline]] inline void both_ways(const V (&in)[M][M], V (&out)[L][L], One one) {
  V rows[M][L];
#pragma GCC unroll 4
  for (int i = 0; i < M; ++i) one(in[i], rows[i]);
#pragma GCC unroll 4
  for (int j = 0; j < L; ++j) {
    V column[M], made[L];
#pragma GCC unroll 4
    for (int i = 0; i < M; ++i) column[i] = rows[i][j];
    one(column, made);
#pragma GCC unroll 4
    for (int i = 0; i < L; ++i) out[i][j] = made[i];
  }
}

/// B^T d B: 4x4 pixels.
template <class V>
[[gnu::always_inline]] inline void transform_input(const V (&d)[4][4], V (&v)[4][4]) {
  both_ways(d, v, [](const V(&from)[4], V(&to)[4]) {
    to[0] = from[0] - from[2];
    to[1] = from[1] + from[2];
    to[2] = from[2] - from[1];
    to[3] = from[1] - from[3];
  });
}

/// G g G^T: 3x3 weights.
template <class V>
[[gnu::always_inline]] inline void transform_weights(const V (&g)[3][3], V (&u)[4][4]) {
  both_ways(g, u, [](const V(&from)[3], V(&to)[4]) {
    const V half = broadcast<V>(0.5F), outer = half * (from[0] + from[2]), middle = half * from[1];
    to[0] = from[0];
    to[1] = outer + middle;
    to[2] = outer - middle;
    to[3] = from[2];
  });
}

/// A^T m A: to 2x2 pixels of the output.
template <class V>
[[gnu::always_inline]] inline void transform_output(const V (&m)[4][4], V (&y)[2][2]) {
  both_ways(m, y, [](const V(&from)[4], V(&to)[2]) {
    to[0] = from[0] + from[1] + from[2];
    to[1] = from[1] - from[2] - from[3];
  });
}

/// A dy A^T, the transpose of transform_output.
template <class V>
[[gnu::always_inline]] inline void transform_output_grad(const V (&dy)[2][2], V (&m)[4][4]) {
  both_ways(dy, m, [](const V(&from)[2], V(&to)[4]) {
    to[0] = from[0];
    to[1] = from[0] + from[1];
    to[2] = from[0] - from[1];
    to[3] = -from[1];
  });
}

/// G^T u G, the transpose of transform_weights.
template <class V>
[[gnu::always_inline]] inline void transform_weights_grad(const V (&u)[4][4], V (&dw)[3][3]) {
  both_ways(u, dw, [](const V(&from)[4], V(&to)[3]) {
    const V half = broadcast<V>(0.5F), outer = half * (from[1] + from[2]);
    to[0] = from[0] + outer;
    to[1] = half * (from[1] - from[2]);
    to[2] = outer + from[3];
  });
}

}  // namespace lockstep::cpu
