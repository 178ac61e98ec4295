#include "layers/normalization/batch_norm.h"

#include "core/error.h"
#include "layers/base/check.h"

namespace lockstep {

namespace {

float checked_epsilon(float epsilon) {
  if (!(epsilon > 0)) throw InputError("got epsilon {}, expected a number above 0", epsilon);
  return epsilon;
}

/// One value a channel of x, f32 whatever x is.
Type channels_type(const Type& x) { return {Shape{x.shape[-1]}}; }

void expect_normalisable(const Type& x) {
  if (!is_float(x.dtype) || (x.shape.rank() != 2 && x.shape.rank() != 4))
    throw InputError("got {}, expected f32[N, C] or f32[N, H, W, C]", x.str());
}

std::string suffixes(const FusedRelu& relu, bool add) {
  return std::string(add ? " +add" : "") + (relu ? " " + relu.str() : "");
}

}  // namespace

BatchNormOp::BatchNormOp(float epsilon, FusedRelu relu, bool add)
    : epsilon(checked_epsilon(epsilon)), relu(relu), add(add) {}

std::vector<Type> BatchNormOp::infer(std::span<const Type> in) const {
  expect_count(in, add ? 5 : 4);
  const Type& x = in[0];
  expect_normalisable(x);
  const Type channels = channels_type(x);
  expect_type(in[1], channels, "gamma");
  expect_type(in[2], channels, "beta");
  const Type per_lane{Shape{expect_lane_state(in[3], x), x.shape[-1]}};
  if (add) expect_type(in[4], x, "the residual");
  return {x, per_lane, per_lane, moments_type(x)};
}

std::vector<Rule> BatchNormOp::rules() const {
  std::vector<Rule> rules{{{shard(0), replicate, replicate, shard(0)}, {shard(0), shard(0), shard(0), partial}},
                          {{shard(-1), shard(0), shard(0), replicate}, {shard(-1), shard(1), shard(1), shard(0)}}};
  if (add)
    for (Rule& rule : rules) rule.in.push_back(rule.in[0]);
  return rules;
}

std::vector<Value> BatchNormOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  std::vector<Value> in{node.in[0]};
  if (relu) in.push_back(node.out[0]);
  in.insert(in.end(), {dy[0], node.in[1], node.out[1], node.out[2], node.in[3]});
  const auto out = graph.add(node.name + "/grad", std::make_shared<BatchNormGradOp>(relu, add), in);
  std::vector<Value> gradients{out[0], out[1], out[2], Value{}};
  if (add) gradients.push_back(out[3]);
  return gradients;
}

std::string BatchNormOp::attributes() const { return fmt::format("epsilon {}{}", epsilon, suffixes(relu, add)); }

void BatchNormOp::expect_variance(const Type& x, int64_t lanes) {
  if (x.shape.elements() == lanes * x.shape[-1])
    throw InputError(
        "a lane holds one value a channel ({} in {} lane{}), which has no variance; expected more samples a "
        "lane: a larger batch or fewer lanes",
        x.str(), lanes, lanes == 1 ? "" : "s");
}

std::shared_ptr<const Op> BatchNormOp::fused(FusedRelu with_relu, bool with_add) const {
  return std::make_shared<BatchNormOp>(epsilon, with_relu, with_add);
}

std::vector<Type> BatchNormGradOp::infer(std::span<const Type> in) const {
  expect_count(in, relu ? 7 : 6);
  const Type& x = in[0];
  expect_normalisable(x);
  const Type channels = channels_type(x);
  if (relu) expect_type(in[1], x, "y");
  const auto rest = in.subspan(relu ? 2 : 1);
  expect_type(rest[0], x, "dy");
  expect_type(rest[1], channels, "gamma");
  const Type per_lane{Shape{expect_lane_state(rest[4], x), x.shape[-1]}};
  expect_type(rest[2], per_lane, "the mean");
  expect_type(rest[3], per_lane, "the inverse deviation");
  std::vector<Type> out{x, channels, channels};
  if (add) out.push_back(x);
  return out;
}

std::vector<Rule> BatchNormGradOp::rules() const {
  std::vector<Rule> rules{
      {{shard(0), shard(0), replicate, shard(0), shard(0), shard(0)}, {shard(0), partial, partial}}};
  rules.push_back({{shard(-1), shard(-1), shard(0), shard(1), shard(1), replicate}, {shard(-1), shard(0), shard(0)}});
  for (Rule& rule : rules) {
    if (relu) rule.in.insert(rule.in.begin(), rule.in[0]);
    if (add) rule.out.push_back(rule.out[0]);
  }
  return rules;
}

std::string BatchNormGradOp::attributes() const {
  const std::string text = suffixes(relu, add);
  return text.empty() ? text : text.substr(1);
}

BatchNormInferenceOp::BatchNormInferenceOp(float epsilon, FusedRelu relu, bool add)
    : epsilon(checked_epsilon(epsilon)), relu(relu), add(add) {}

std::vector<Type> BatchNormInferenceOp::infer(std::span<const Type> in) const {
  expect_count(in, add ? 6 : 5);
  const Type& x = in[0];
  expect_normalisable(x);
  constexpr const char* names[]{"x", "gamma", "beta", "the moving mean", "the moving variance"};
  for (size_t i = 1; i < 5; ++i) expect_type(in[i], channels_type(x), names[i]);
  if (add) expect_type(in[5], x, "the residual");
  return {x};
}

std::vector<Rule> BatchNormInferenceOp::rules() const {
  std::vector<Rule> rules{{{shard(-1), shard(0), shard(0), shard(0), shard(0)}, {shard(-1)}}};
  for (const auto& [dim, cut] : {std::pair{0, Cut::batch}, {1, Cut::height}, {2, Cut::width}})
    rules.push_back({{shard(dim), replicate, replicate, replicate, replicate}, {shard(dim)}, cut});
  if (add)
    for (Rule& rule : rules) rule.in.push_back(rule.in[0]);
  return rules;
}

std::string BatchNormInferenceOp::attributes() const {
  return fmt::format("epsilon {}{}", epsilon, suffixes(relu, add));
}

std::shared_ptr<const Op> BatchNormInferenceOp::fused(FusedRelu with_relu, bool with_add) const {
  return std::make_shared<BatchNormInferenceOp>(epsilon, with_relu, with_add);
}

void BatchNormalization::describe(Fields& fields) {
  fields.field("momentum", options.momentum);
  fields.field("epsilon", options.epsilon);
  fields.field("beta_regularizer", options.beta_regularizer);
  fields.field("gamma_regularizer", options.gamma_regularizer);
}

Value BatchNormalization::build(Builder& builder, std::span<const Value> in) const {
  const float momentum = options.momentum, epsilon = options.epsilon;
  if (!(momentum >= 0 && momentum <= 1)) throw InputError("got momentum {}, expected 0 to 1", momentum);
  if (!(epsilon > 0)) throw InputError("got epsilon {}, expected a number above 0", epsilon);
  const Value input = only_input(in);
  const Type& x = builder.type(input);
  expect_normalisable(x);
  const Shape channels = channels_type(x).shape;
  const Value gamma = builder.parameter("gamma", channels, ones, options.gamma_regularizer);
  const Value beta = builder.parameter("beta", channels, zeros, options.beta_regularizer);
  const Value mean = builder.state("moving_mean", channels, 0);
  const Value variance = builder.state("moving_variance", channels, 1);
  if (!builder.training())
    return builder.add1("", std::make_shared<BatchNormInferenceOp>(epsilon, false, false),
                        {input, gamma, beta, mean, variance});
  const auto out =
      builder.add("", std::make_shared<BatchNormOp>(epsilon, false, false), {input, gamma, beta, builder.lane_state()});
  builder.track(mean, variance, out[3], momentum);
  return out[0];
}

}  // namespace lockstep
