#include "layers/activations/activation.h"

#include <array>
#include <cmath>

#include "core/error.h"
#include "layers/base/check.h"

namespace lockstep {

namespace {

using Kind = Curve::Kind;

/// In the order of Activation.
constexpr std::array activation_names{"linear", "relu", "softmax",    "sigmoid", "tanh",         "silu",
                                      "gelu",   "elu",  "leaky_relu", "relu6",   "hard_sigmoid", "hard_silu"};
static_assert(activation_names.size() == static_cast<size_t>(Activation::hard_silu) + 1);

void check(const Curve& curve) {
  const auto refuse = [](const char* what, float given, const char* expected) {
    throw InputError("got {} {}, expected {}", what, given, expected);
  };
  const bool bends = curve.kind == Kind::elu || curve.kind == Kind::relu;
  if (curve.kind == Kind::linear && !std::isfinite(curve.slope)) refuse("slope", curve.slope, "a number");
  // The gradient reads the sign of x from y.
  if (bends && !(curve.slope >= 0 && std::isfinite(curve.slope)))
    refuse(curve.kind == Kind::elu ? "alpha" : "negative_slope", curve.slope, "a number of at least 0");
  if (curve.kind != Kind::relu) return;
  if (!(curve.threshold >= 0 && std::isfinite(curve.threshold)))
    refuse("threshold", curve.threshold, "a number of at least 0");
  if (!(curve.top > curve.threshold)) refuse("max_value", curve.top, "a number above 0 and above the threshold");
}

}  // namespace

std::string_view name_of(Activation activation) { return activation_names.at(static_cast<size_t>(activation)); }

void Fields::field(std::string_view key, Activation& value, bool required) {
  static const auto names = [] {
    std::vector<std::string> all(activation_names.begin(), activation_names.end());
    all.insert(all.end(), {"swish", "hard_swish"});
    return all;
  }();
  int index = static_cast<int>(value);
  choose(key, index, names, required);
  constexpr std::array aliases{Activation::swish, Activation::hard_swish};
  const auto chosen = static_cast<size_t>(index);
  value =
      chosen < activation_names.size() ? static_cast<Activation>(index) : aliases.at(chosen - activation_names.size());
}

std::string Curve::str() const {
  constexpr std::array names{"sigmoid", "tanh",         "silu",      "gelu",   "gelu_tanh",
                             "elu",     "hard_sigmoid", "hard_silu", "linear", "relu"};
  std::string text = names.at(static_cast<size_t>(kind));
  if (kind == Kind::elu || kind == Kind::linear || (kind == Kind::relu && slope != 0))
    text += fmt::format(" slope {}", slope);
  if (kind == Kind::relu && threshold != 0) text += fmt::format(" threshold {}", threshold);
  if (kind == Kind::relu && std::isfinite(top)) text += fmt::format(" top {}", top);
  return text;
}

bool Curve::gradient_of_input() const {
  switch (kind) {
    case Kind::silu:
    case Kind::gelu:
    case Kind::gelu_tanh:
    case Kind::hard_silu:
    case Kind::hard_sigmoid:  // in 16 bits, y is 1 before x is 3
      return true;
    default:
      return false;
  }
}

Curve curve_of(Activation activation) {
  switch (activation) {
    case Activation::sigmoid:
      return {Kind::sigmoid};
    case Activation::tanh:
      return {Kind::tanh};
    case Activation::silu:
      return {Kind::silu};
    case Activation::gelu:
      return {Kind::gelu};
    case Activation::elu:
      return {.kind = Kind::elu, .slope = 1};
    case Activation::leaky_relu:
      return {.kind = Kind::relu, .slope = 0.2F};
    case Activation::relu6:
      return {.kind = Kind::relu, .top = 6};
    case Activation::hard_sigmoid:
      return {Kind::hard_sigmoid};
    case Activation::hard_silu:
      return {Kind::hard_silu};
    default:
      throw Error("{} is not made by ActivationOp", name_of(activation));
  }
}

ActivationOp::ActivationOp(Curve curve) : curve(curve) { check(curve); }

std::vector<Type> ActivationOp::infer(std::span<const Type> in) const {
  expect_count(in, 1);
  expect_float(in[0]);
  return {in[0]};
}

std::vector<Rule> ActivationOp::rules() const {
  auto rules = elementwise_rules(1);
  if (curve.kind == Kind::linear) rules.push_back({{partial}, {partial}});
  return rules;
}

std::vector<Value> ActivationOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  const Value kept = curve.gradient_of_input() ? node.in[0] : node.out[0];
  return {graph.add1(node.name + "/grad", std::make_shared<ActivationGradOp>(curve), {kept, dy[0]})};
}

std::vector<Type> ActivationGradOp::infer(std::span<const Type> in) const {
  expect_count(in, 2);
  expect_float(in[0]);
  expect_type(in[1], in[0], "dy");
  return {in[1]};
}

std::vector<Rule> ActivationGradOp::rules() const { return elementwise_rules(2); }

}  // namespace lockstep
