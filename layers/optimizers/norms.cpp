#include "layers/optimizers/norms.h"

#include <algorithm>
#include <bit>

#include "core/error.h"
#include "layers/base/check.h"

namespace lockstep {

namespace {

/// The largest level of a subtree that begins at line `line` and ends in those that there are room for.
int32_t level_at(int64_t line, int64_t room) {
  const auto fits = static_cast<int32_t>(std::bit_width(static_cast<uint64_t>(room))) - 1;
  return line == 0 ? fits : std::min(fits, static_cast<int32_t>(std::countr_zero(static_cast<uint64_t>(line))));
}

}  // namespace

Type square_sums_type(int64_t n) { return {Shape{n, static_cast<int64_t>(sizeof(SquareSum))}, DType::u8}; }

std::vector<Subtree> subtrees_of(std::vector<VariablePart> parts) {
  std::ranges::sort(parts, {}, [](const VariablePart& part) { return std::pair(part.variable, part.first); });
  std::vector<Subtree> all;
  for (const VariablePart& part : parts) {
    const int64_t n = part.end - part.begin, last = part.first + n;
    if (part.first % squares_line != 0 || (last != part.elements && last % squares_line != 0))
      throw Error("elements {} to {} of {} are no whole lines of {}", part.first, last, part.elements, squares_line);
    const auto lines = [](int64_t elements) { return (elements + squares_line - 1) / squares_line; };
    // Behind the variable's end there are zeros: a whole variable is one subtree.
    const auto whole = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(lines(part.elements))));
    const int64_t end = last == part.elements ? whole : lines(last);
    for (int64_t line = part.first / squares_line; line * squares_line < last;) {
      const int32_t level = level_at(line, end - line);
      const int64_t begin = part.begin + line * squares_line - part.first, next = line + (int64_t{1} << level);
      all.push_back(
          {part.variable, level, part.input, begin, std::min(part.begin + next * squares_line - part.first, part.end)});
      line = next;
    }
  }
  return all;
}

NormsOp::NormsOp(int64_t of, std::vector<Subtree> parts, int64_t sums)
    : variables(of), subtrees(std::move(parts)), room(sums) {
  if (room < static_cast<int64_t>(subtrees.size())) throw Error("{} sums, but room for {}", subtrees.size(), room);
}

std::vector<Type> NormsOp::infer(std::span<const Type> in) const {
  if (blocks == 0) {
    for (const Type& type : in) expect_f32(type);
    for (const Subtree& one : subtrees)
      if (one.input >= in.size() || one.end > in[one.input].shape.elements())
        throw InputError("a variable lies in elements {} to {} of input {}, which is not given", one.begin, one.end,
                         one.input);
  } else {
    expect_count(in, 1);
    const int64_t n = in[0].shape.rank() == 2 ? in[0].shape[0] : 0;
    expect_type(in[0], square_sums_type(n), "sums of squares");
    if (n % blocks != 0) throw InputError("got {} sums, expected {} blocks of as many", n, blocks);
  }
  return {{Shape{variables}, DType::f32}, square_sums_type(blocks == 0 ? room : variables)};
}

std::string NormsOp::attributes() const {
  const std::string of = fmt::format("of {} variable{}", variables, variables == 1 ? "" : "s");
  return blocks == 0 ? fmt::format("{} by {} sum{}", of, subtrees.size(), subtrees.size() == 1 ? "" : "s")
                     : fmt::format("{} from {} ranks", of, blocks);
}

std::vector<Type> TotalNormOp::infer(std::span<const Type> in) const {
  expect_count(in, 1);
  expect_f32(in[0]);
  return {in[0]};
}

}  // namespace lockstep
