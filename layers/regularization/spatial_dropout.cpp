#include "layers/regularization/spatial_dropout.h"

#include "core/error.h"
#include "layers/base/check.h"

namespace lockstep {

SpatialDropoutOp::SpatialDropoutOp(float rate, uint32_t layer, int64_t first) : rate(rate), layer(layer), first(first) {
  if (!(rate >= 0 && rate < 1)) throw InputError("got dropout rate {}, expected 0 <= rate < 1", rate);
}

std::vector<Type> SpatialDropoutOp::infer(std::span<const Type> in) const {
  expect_count(in, 3);
  expect_image(in[0]);
  expect_step_state(in[1]);
  expect_lane_state(in[2], in[0]);
  return {in[0]};
}

std::vector<Rule> SpatialDropoutOp::rules() const {
  std::vector<Rule> rules{{{shard(0), replicate, shard(0)}, {shard(0)}}};
  for (int dim = 1; dim < 4; ++dim) rules.push_back({{shard(dim), replicate, replicate}, {shard(dim)}});
  return rules;
}

Op::Local SpatialDropoutOp::local(const Part& part) const {
  const int64_t begin = part.rule.in[0] == shard(3) ? part.in[0].begin : 0;
  return {std::make_shared<SpatialDropoutOp>(rate, layer, first + begin)};
}

std::vector<Value> SpatialDropoutOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  return {graph.add1(node.name + "/grad", std::make_shared<SpatialDropoutOp>(rate, layer, first),
                     {dy[0], node.in[1], node.in[2]}),
          Value{}, Value{}};
}

std::string SpatialDropoutOp::attributes() const {
  const std::string text = fmt::format("rate {} layer {}", rate, layer);
  return first > 0 ? fmt::format("{} from {}", text, first) : text;
}

Value SpatialDropout2D::build(Builder& builder, std::span<const Value> in) const {
  const auto op = std::make_shared<SpatialDropoutOp>(rate, builder.layer_index());
  const Value input = only_input(in);
  expect_image(builder.type(input));
  if (!builder.training()) return input;
  return builder.add1("", op, {input, builder.step_state(), builder.lane_state()});
}

}  // namespace lockstep
