#include "layers/optimizers/norms.h"

#include <algorithm>
#include <cmath>

#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"

namespace lockstep::cpu {

namespace {

/// Lines that one thread adds up; a subtree, so that their number changes nothing.
constexpr int64_t piece_lines = 512;
constexpr int64_t piece = piece_lines * squares_line;
int64_t pieces_of(int64_t n) { return (n + piece - 1) / piece; }

double squares_of_line(const float* x) {
  double sums[8];
  for (int k = 0; k < 8; ++k) sums[k] = double{x[k]} * double{x[k]} + double{x[k + 8]} * double{x[k + 8]};
  for (int k = 0; k < 4; ++k) sums[k] += sums[k + 4];
  return (sums[0] + sums[2]) + (sums[1] + sums[3]);
}

/// Of a balanced binary tree's leaves, which are lost; those that are missing on the right are zeros.
double sum_of_tree(double* leaves, int64_t n) {
  for (; n > 1; n = (n + 1) / 2) {
    for (int64_t i = 0; i < n / 2; ++i) leaves[i] = leaves[2 * i] + leaves[2 * i + 1];
    if (n % 2 != 0) leaves[n / 2] = leaves[n - 1];
  }
  return n == 1 ? leaves[0] : 0;
}

double squares_of_piece(const float* x, int64_t n) {
  double lines[piece_lines];
  int64_t count = 0;
  for (; (count + 1) * squares_line <= n; ++count) lines[count] = squares_of_line(x + count * squares_line);
  if (const int64_t done = count * squares_line; done < n) {
    float last[squares_line] = {};
    std::copy_n(x + done, n - done, last);
    lines[count++] = squares_of_line(last);
  }
  return sum_of_tree(lines, count);
}

/// Of each variable, from `blocks` blocks of `room` sums.
void join(const SquareSum* from, int64_t blocks, int64_t room, int32_t variables, float* norms, SquareSum* to) {
  for (int32_t v = 0; v < variables; ++v) {
    SquareTree tree;
    for (int64_t block = 0; block < blocks; ++block) {
      const SquareSum* const sums = from + block * room;
      for (int64_t i = first_of(sums, room, v); i < room && sums[i].variable == v; ++i)
        tree.add(sums[i].sum, sums[i].level);
    }
    norms[v] = static_cast<float>(std::sqrt(tree.total()));
    if (to) to[v] = {tree.total(), v, 0};
  }
}

Kernel of_ranges(const NormsOp& op) {
  int64_t most = 0;
  for (const Subtree& one : op.subtrees) most = std::max(most, pieces_of(one.end - one.begin));
  return {.workspace = static_cast<size_t>(most) * sizeof(double),
          .run = [variables = static_cast<int32_t>(op.variables), subtrees = op.subtrees, room = op.room](
                     Stream&, const Args& args) {
            auto* const sums = reinterpret_cast<double*>(args.workspace);
            auto* const out = args.out[1].as<SquareSum>();
            auto* next = out;
            for (const Subtree& one : subtrees) {
              const float* const x = args.in[one.input].as() + one.begin;
              const int64_t n = one.end - one.begin, pieces = pieces_of(n);
              parallel_for(pieces, piece * 4, [=](int64_t begin, int64_t end) {
                for (int64_t p = begin; p < end; ++p)
                  sums[p] = squares_of_piece(x + p * piece, std::min(piece, n - p * piece));
              });
              *next++ = {sum_of_tree(sums, pieces), one.variable, one.level};
            }
            std::fill(next, out + room, SquareSum{});
            join(out, 1, room, variables, args.out[0].as(), nullptr);
          }};
}

}  // namespace

Kernel make(const NormsOp& op, const Signature& signature) {
  if (op.blocks == 0) return of_ranges(op);
  const int64_t room = signature.in[0].shape[0] / op.blocks;
  return {.run = [variables = static_cast<int32_t>(op.variables), blocks = op.blocks, room](Stream&, const Args& args) {
    join(args.in[0].as<const SquareSum>(), blocks, room, variables, args.out[0].as(), args.out[1].as<SquareSum>());
  }};
}

Kernel make(const TotalNormOp&, const Signature& signature) {
  return {.run = [n = signature.in[0].shape.elements()](Stream&, const Args& args) {
    double sums[8] = {};
    for (int64_t i = 0; i < n; ++i) sums[i % 8] += double{args.in[0].as()[i]} * double{args.in[0].as()[i]};
    const double sum = ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
    std::fill_n(args.out[0].as(), n, static_cast<float>(std::sqrt(sum)));
  }};
}

}  // namespace lockstep::cpu
