// An operator over rows of images in pieces: those that a member computes from its own rows, while the rows at its
// borders travel, and those that need them. Plain functions and immutable operators: any thread.
#pragma once

#include "parallel/collectives/rows.h"

namespace lockstep {

/// A member's operator along all axes (see Op::local), and the inputs at the end that it does without.
Op::Local localise(std::shared_ptr<const Op> op, std::span<const Op::Part> parts);

/// The two operators that take the place of one.
struct RowSplit {
  std::vector<RowPiece> interior, borders;
};

/// `parts[axis]` cuts the rows of the output, whose windows see `window` of the input's `size` rows, of which the
/// member has `own`. None where less than half of the output needs no other rows, or all of it.
std::optional<RowSplit> split_rows(const std::shared_ptr<const Op>& op, std::span<const Op::Part> parts, size_t axis,
                                   Interval own, Interval window, int64_t size);

}  // namespace lockstep
