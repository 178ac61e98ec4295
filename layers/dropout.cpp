#include "layers/dropout.h"

#include "core/error.h"
#include "layers/check.h"

namespace lockstep {

namespace {

bool valid_rate(float rate) { return rate >= 0 && rate < 1; }

}  // namespace

DropoutOp::DropoutOp(float rate, uint32_t layer) : rate(rate), layer(layer) {
  if (!valid_rate(rate)) throw InputError("got dropout rate {}, expected 0 <= rate < 1", rate);
}

std::vector<Type> DropoutOp::infer(std::span<const Type> in) const {
  expect_count(in, 3);
  expect_float(in[0]);
  expect_step_state(in[1]);
  expect_lane_state(in[2], in[0]);
  return {in[0]};
}

std::vector<Rule> DropoutOp::rules() const { return {{{shard(0), replicate, shard(0)}, {shard(0)}}}; }

std::vector<Value> DropoutOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  return {graph.add1(node.name + "/grad", std::make_shared<DropoutOp>(rate, layer), {dy[0], node.in[1], node.in[2]}),
          Value{}, Value{}};
}

std::string DropoutOp::attributes() const { return fmt::format("rate {} layer {}", rate, layer); }

void Dropout::describe(Fields& fields) { fields.field("rate", rate, true); }

Value Dropout::build(Builder& builder, std::span<const Value> in) const {
  if (!valid_rate(rate)) throw InputError("got rate {}, expected 0 <= rate < 1", rate);
  const Value input = only_input(in);
  if (!builder.training()) return input;
  return builder.add1("", std::make_shared<DropoutOp>(rate, builder.layer_index()),
                      {input, builder.step_state(), builder.lane_state()});
}

}  // namespace lockstep
