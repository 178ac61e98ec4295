// The norms of whole variables, for clipping and for optimizers that adapt to them, where each rank may have but a part
// of a variable. Immutable: any thread.
//
// Squares are added in double along a balanced binary tree whose leaves are lines of 16 elements, counted from the
// variable's begin. Whoever has some lines of a variable adds up the largest subtrees that lie in them; joined in their
// order, these make the same bits however a variable was shared out.
#pragma once

#include <vector>

#include "core/graph/op.h"

namespace lockstep {

/// Elements of a line: ranges of parameters are shared out in whole ones.
inline constexpr int64_t squares_line = 16;

/// The sum of the squares of a subtree of 2^level lines; lines after the variable's end count as zeros.
struct SquareSum {
  double sum = 0;
  int32_t variable = INT32_MAX;  // its number; none sorts last
  int32_t level = 0;
};
/// n of them: u8[n,16].
Type square_sums_type(int64_t n);

/// Elements [begin, end) of input `input` are those of variable number `variable`, which has `elements`, from `first`
/// on: a line's begin.
struct VariablePart {
  int32_t variable = 0;
  size_t input = 0;
  int64_t begin = 0, end = 0;
  int64_t first = 0, elements = 0;
};

/// A subtree: elements [begin, end) of an input.
struct Subtree {
  int32_t variable = 0, level = 0;
  size_t input = 0;
  int64_t begin = 0, end = 0;
};
/// The largest subtrees in the parts, by variable and place.
std::vector<Subtree> subtrees_of(std::vector<VariablePart> parts);

/// Joins subtrees that come in their order, as a binary counter carries: neighbours of one level make one of the next.
struct SquareTree {
  double sums[64] = {};
  int32_t levels[64] = {};
  int depth = 0;

  constexpr void add(double sum, int32_t level) {
    for (; depth > 0 && levels[depth - 1] == level; ++level) sum = sums[--depth] + sum;
    sums[depth] = sum;
    levels[depth++] = level;
  }
  /// What is left has no neighbour: zeros, which change nothing.
  constexpr double total() const {
    double sum = 0;
    for (int i = depth; i > 0; --i) sum = sums[i - 1] + sum;
    return sum;
  }
};

/// The first of `n` sums, sorted by variable, that is of `variable` or a later one.
constexpr int64_t first_of(const SquareSum* sums, int64_t n, int32_t variable) {
  int64_t begin = 0;
  while (begin < n) {
    const int64_t middle = begin + (n - begin) / 2;
    if (sums[middle].variable < variable)
      begin = middle + 1;
    else
      n = middle;
  }
  return begin;
}

/// Outputs: f32[variables], the Euclidean norm of each, 0 of one that nobody has; and sums of squares to join with
/// other ranks'. It works on one of two things:
///   ranges      any number, f32[n], in which `subtrees` lie: a sum each, in their order, and `room` for more. The
///   norms
///               are right where a variable is one subtree, or all of its subtrees are here.
///   sums        those of all ranks, in as many blocks of as many, in the order of their parts: a sum a variable, with
///               which this can be done along a further axis of ranks.
class NormsOp final : public Op {
 public:
  NormsOp(int64_t variables, std::vector<Subtree> subtrees, int64_t room);
  NormsOp(int64_t variables, int64_t blocks) : variables(variables), blocks(blocks) {}
  std::string_view name() const override { return "norms"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override { return {}; }
  std::string attributes() const override;

  const int64_t variables;
  const std::vector<Subtree> subtrees;
  const int64_t room = 0;
  const int64_t blocks = 0;  // 0: of ranges
};

/// f32[k]: the norm of all variables, from the norms of each, f32[k]; k times the same, so that it stands where theirs
/// may.
class TotalNormOp final : public Op {
 public:
  std::string_view name() const override { return "total_norm"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override { return {}; }
};

}  // namespace lockstep
