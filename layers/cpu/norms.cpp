#include "layers/optimizers/norms.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"

namespace lockstep::cpu {

namespace {

/// Elements whose squares are added one behind the other, whatever the number of threads.
constexpr int64_t piece = 8192;
int64_t pieces_of(int64_t n) { return (n + piece - 1) / piece; }

double sum_of_squares(const float* x, int64_t n) {
  double sums[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int64_t k = 0; k < 8; ++k) sums[k] += double{x[i + k]} * double{x[i + k]};
  for (; i < n; ++i) sums[i % 8] += double{x[i]} * double{x[i]};
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

}  // namespace

Kernel make(const NormsOp& op, const Signature&) {
  int64_t most = 0;
  for (const NormOf& variable : op.variables) most = std::max(most, pieces_of(variable.end - variable.begin));
  return {.workspace = static_cast<size_t>(most) * sizeof(double),
          .run = [variables = op.variables](Stream&, const Args& args) {
            auto* partial = reinterpret_cast<double*>(args.workspace);
            for (size_t v = 0; v < variables.size(); ++v) {
              const int64_t n = variables[v].end - variables[v].begin, pieces = pieces_of(n);
              const float* x = n > 0 ? args.in[variables[v].input].as() + variables[v].begin : nullptr;
              parallel_for(pieces, piece * 4, [=](int64_t begin, int64_t end) {
                for (int64_t p = begin; p < end; ++p)
                  partial[p] = sum_of_squares(x + p * piece, std::min(piece, n - p * piece));
              });
              double sum = 0;
              for (int64_t p = 0; p < pieces; ++p) sum += partial[p];
              args.out[0].as()[v] = static_cast<float>(std::sqrt(sum));
            }
          }};
}

Kernel make(const TotalNormOp&, const Signature& signature) {
  return {.run = [n = signature.in[0].shape.elements()](Stream&, const Args& args) {
    const double sum = sum_of_squares(args.in[0].as(), n);
    std::fill_n(args.out[0].as(), n, static_cast<float>(std::sqrt(sum)));
  }};
}

}  // namespace lockstep::cpu
