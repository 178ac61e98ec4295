#include "layers/cross_entropy.h"

#include "core/error.h"
#include "layers/check.h"
#include "layers/optimizers/loss_scale.h"

namespace lockstep {

namespace {

void expect_loss_inputs(std::span<const Type> in, bool scaled) {
  expect_count(in, scaled ? 4 : 3);
  expect_f32(in[0]);
  if (in[0].shape.rank() != 2) throw InputError("got {}, expected one row of classes a sample: f32[N, K]", in[0].str());
  expect_type(in[1], {Shape{in[0].shape[0]}, DType::i32}, "the label tensor");
  expect_lane_state(in[2], in[0]);
  if (scaled) expect_type(in[3], loss_scale_type(), "the loss scale");
}

std::vector<Placement> loss_inputs(bool scaled) {
  std::vector<Placement> in{shard(0), shard(0), shard(0)};
  if (scaled) in.push_back(replicate);
  return in;
}

}  // namespace

std::vector<Type> CrossEntropyOp::infer(std::span<const Type> in) const {
  expect_loss_inputs(in, scaled);
  return {{Shape{1}, DType::f32}, {Shape{1}, DType::f32}};
}

std::vector<Rule> CrossEntropyOp::rules() const { return {{loss_inputs(scaled), {partial, partial}}}; }

std::vector<Value> CrossEntropyOp::backward(Graph& graph, const Node& node, std::span<const Value>) const {
  std::vector<Value> gradients(node.in.size());
  gradients[0] = graph.add1(node.name + "/grad", std::make_shared<CrossEntropyGradOp>(scaled), node.in);
  return gradients;
}

std::vector<Type> CrossEntropyGradOp::infer(std::span<const Type> in) const {
  expect_loss_inputs(in, scaled);
  return {in[0]};
}

std::vector<Rule> CrossEntropyGradOp::rules() const { return {{loss_inputs(scaled), {shard(0)}}}; }

}  // namespace lockstep
