#include "layers/regularization/dropout.h"

#include "core/error.h"
#include "layers/base/check.h"

namespace lockstep {

namespace {

bool valid_rate(float rate) { return rate >= 0 && rate < 1; }

}  // namespace

DropoutOp::DropoutOp(float rate, uint32_t layer, Shape whole, Corner corner)
    : rate(rate), layer(layer), whole(whole), corner(corner) {
  if (!valid_rate(rate)) throw InputError("got dropout rate {}, expected 0 <= rate < 1", rate);
}

std::vector<Type> DropoutOp::infer(std::span<const Type> in) const {
  expect_count(in, 3);
  expect_float(in[0]);
  expect_step_state(in[1]);
  expect_lane_state(in[2], in[0]);
  return {in[0]};
}

std::vector<Rule> DropoutOp::rules() const {
  std::vector<Rule> rules{{{shard(0), replicate, shard(0)}, {shard(0)}}};
  for (int dim = 1; dim <= static_cast<int>(corner.size()); ++dim)
    rules.push_back({{shard(dim), replicate, replicate}, {shard(dim)}});
  return rules;
}

Op::Local DropoutOp::local(const Part& part) const {
  Corner begin = corner;
  begin.at(static_cast<size_t>(part.rule.in[0].dim - 1)) += part.in[0].begin;
  return {std::make_shared<DropoutOp>(rate, layer, whole, begin)};
}

SampleRuns DropoutOp::runs(const Shape& x) const {
  // From the innermost dimension on: one that goes on where those before it end belongs to them.
  struct Level {
    int64_t count, pitch;
  };
  std::vector<Level> levels{{1, 1}};
  int64_t pitch = 1, first = 0;
  for (int dim = x.rank() - 1; dim > 0; --dim) {
    if (levels.back().count * levels.back().pitch == pitch)
      levels.back().count *= x[dim];
    else
      levels.push_back({x[dim], pitch});
    if (const auto cut = static_cast<size_t>(dim - 1); cut < corner.size()) first += corner[cut] * pitch;
    pitch *= whole[dim];
  }
  levels.resize(3, {1, 0});  // no more dimensions are cut
  return {levels[2].count, levels[1].count, levels[0].count, levels[2].pitch, levels[1].pitch, first};
}

std::vector<Value> DropoutOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  return {graph.add1(node.name + "/grad", std::make_shared<DropoutOp>(rate, layer, whole, corner),
                     {dy[0], node.in[1], node.in[2]}),
          Value{}, Value{}};
}

std::string DropoutOp::attributes() const {
  std::string text = fmt::format("rate {} layer {}", rate, layer);
  if (corner != Corner{}) text += fmt::format(" from {}", fmt::join(corner, ", "));
  return text;
}

void Dropout::describe(Fields& fields) { fields.field("rate", rate, true); }

Value Dropout::build(Builder& builder, std::span<const Value> in) const {
  if (!valid_rate(rate)) throw InputError("got rate {}, expected 0 <= rate < 1", rate);
  const Value input = only_input(in);
  if (!builder.training()) return input;
  return builder.add1("", std::make_shared<DropoutOp>(rate, builder.layer_index(), builder.type(input).shape),
                      {input, builder.step_state(), builder.lane_state()});
}

}  // namespace lockstep
