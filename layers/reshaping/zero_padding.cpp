#include "layers/reshaping/zero_padding.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "layers/base/check.h"

namespace lockstep {

std::vector<Type> PadOp::infer(std::span<const Type> in) const {
  expect_count(in, 1);
  expect_image(in[0]);
  Type y = in[0];
  for (size_t d = 0; d < 2; ++d) {
    int64_t& size = y.shape[static_cast<int>(d) + 1];
    size += before[d] + after[d];
    // More may be taken away at one end than there is, where the other adds it: a member's part can be padding alone.
    if (size < 1) throw InputError("{} with {} takes away more than there is", in[0].str(), attributes());
  }
  return {y};
}

std::vector<Rule> PadOp::rules() const {
  return {batch_rule(1),
          {{window(1)}, {shard(1)}, Cut::height},
          {{window(2)}, {shard(2)}, Cut::width},
          {{shard(3)}, {shard(3)}}};
}

Interval PadOp::needs(int dim, Interval seen, int64_t size) const {
  const int64_t pixels = before[static_cast<size_t>(dim - 1)];
  // Who has nothing but zeros sees one pixel, and takes it away again: nobody's share of a value is empty.
  const int64_t begin = std::clamp<int64_t>(seen.begin - pixels, 0, size - 1);
  return {begin, std::clamp<int64_t>(seen.end - pixels, begin + 1, size)};
}

Op::Local PadOp::local(const Part& part) const {
  const int dim = part.rule.out[0].dim;
  if (dim != 1 && dim != 2) return {};
  const auto d = static_cast<size_t>(dim - 1);
  Size2 first = before, last = after;
  first[d] = part.in[0].begin - (part.out[0].begin - before[d]);
  last[d] = part.out[0].size() - part.in[0].size() - first[d];
  return {std::make_shared<PadOp>(first, last)};
}

std::vector<Value> PadOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  const auto op = std::make_shared<PadOp>(Size2{-before[0], -before[1]}, Size2{-after[0], -after[1]});
  return {graph.add1(node.name + "/grad", op, {dy[0]})};
}

std::string PadOp::attributes() const {
  return fmt::format("pad {}x{}/{}x{}", before[0], before[1], after[0], after[1]);
}

Value ZeroPadding2D::build(Builder& builder, std::span<const Value> in) const {
  const Value x = only_input(in);
  if (padding.kind != Padding::Kind::pixels)
    throw InputError("layer '{}': padding is a word, expected pixels, such as [[1, 1], [1, 1]]", builder.layer());
  for (const Size2& side : {padding.rows, padding.columns})
    if (side[0] < 0 || side[1] < 0)
      throw InputError("layer '{}': padding [{}, {}]: expected no negative pixels", builder.layer(), side[0], side[1]);
  const Size2 before{padding.rows[0], padding.columns[0]}, after{padding.rows[1], padding.columns[1]};
  return builder.add1("", std::make_shared<PadOp>(before, after), {x});
}

}  // namespace lockstep
