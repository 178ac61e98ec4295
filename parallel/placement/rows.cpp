#include "parallel/placement/rows.h"

#include <algorithm>

namespace lockstep {

Op::Local localise(std::shared_ptr<const Op> op, std::span<const Op::Part> parts) {
  Op::Local all{std::move(op)};
  const auto whole = [](const std::vector<Placement>& placements) {
    return std::ranges::all_of(placements, [](const Placement& p) { return p.dim < 0; });
  };
  for (size_t axis = 1; axis < parts.size(); ++axis) {
    if (whole(parts[axis].rule.in) && whole(parts[axis].rule.out)) continue;
    const Op::Local local = all.op->local(parts[axis]);
    if (local.op) all.op = local.op;
    all.without += local.without;
  }
  return all;
}

std::optional<RowSplit> split_rows(const std::shared_ptr<const Op>& op, std::span<const Op::Part> parts, size_t axis,
                                   Interval own, Interval window, int64_t size) {
  const int dim = parts[axis].rule.out[0].dim;
  const Interval rows = parts[axis].out[0];
  const auto alone = [&](int64_t row) {
    const Interval seen = op->needs(dim, {row, row + 1}, size);
    return seen.begin >= own.begin && seen.end <= own.end;
  };
  Interval inside = rows;
  while (inside.begin < rows.end && !alone(inside.begin)) ++inside.begin;
  while (inside.end > inside.begin && !alone(inside.end - 1)) --inside.end;
  if (2 * inside.size() < rows.size() || inside == rows) return std::nullopt;
  const auto piece = [&](Interval out, Interval from) {
    std::vector<Op::Part> some(parts.begin(), parts.end());
    const Interval seen = op->needs(dim, out, size);
    some[axis].in[0] = seen;
    some[axis].out[0] = out;
    return RowPiece{localise(op, some).op,
                    {seen.begin - from.begin, seen.end - from.begin},
                    {out.begin - rows.begin, out.end - rows.begin}};
  };
  RowSplit split{{piece(inside, own)}, {}};
  for (const Interval border : {Interval{rows.begin, inside.begin}, Interval{inside.end, rows.end}})
    if (border.size() > 0) split.borders.push_back(piece(border, window));
  return split;
}

}  // namespace lockstep
