// An operator over rows of images in pieces: those that a member computes from its own rows, while the rows at its
// borders travel, and those that need them. Plain functions and immutable operators: any thread.
#pragma once

#include "core/kernel.h"
#include "core/op.h"

namespace lockstep {

/// Some rows of the output, and the rows of the input under them; of the local tensors.
struct RowPiece {
  std::shared_ptr<const Op> op;  // for one image, of these rows alone
  Interval in, out;
};

/// Computes pieces of its output from images, its first input; the other inputs go to each piece. With `onto`, the
/// first input is the output with other rows in it, which stay, and images come second.
class RowsOp final : public Op {
 public:
  RowsOp(Type out, std::vector<RowPiece> pieces, bool onto)
      : out(std::move(out)), pieces(std::move(pieces)), onto(onto) {}
  std::string_view name() const override { return pieces.front().op->name(); }
  std::vector<Type> infer(std::span<const Type>) const override { return {out}; }
  std::vector<Rule> rules() const override { return {}; }
  bool moves() const override { return true; }
  Reuse reuse() const override { return onto ? Reuse::InPlace : Reuse::None; }
  std::string attributes() const override;

  const Type out;  // logical
  const std::vector<RowPiece> pieces;
  const bool onto;
};

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

/// Adds the kernel of RowsOp, which runs kernels of `kernels` as they are now, image by image.
void add_rows_kernels(KernelTable& kernels);

}  // namespace lockstep
