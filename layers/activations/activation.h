// Activations that are functions of one number: sigmoid, tanh, SiLU, GELU, ELU, clipped and leaky ReLU and their hard
// forms are one operator with one gradient. Immutable: any thread.
#pragma once

#include <limits>

#include "layers/base/layer.h"

namespace lockstep {

/// A function of one number.
struct Curve {
  enum class Kind : unsigned char {
    sigmoid,       // 1 / (1 + exp(-x))
    tanh,          // tanh(x)
    silu,          // x sigmoid(x): Ramachandran et al., "Searching for activation functions", 2017
    gelu,          // x Phi(x), Phi the normal distribution: Hendrycks and Gimpel, "Gaussian error linear units", 2016
    gelu_tanh,     // x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, their approximation
    elu,           // x where x >= 0, else slope (exp(x) - 1): Clevert et al., "ELU", ICLR 2016, eq. 15
    hard_sigmoid,  // min(max(x + 3, 0), 6) / 6
    hard_silu,     // x hard_sigmoid(x): Howard et al., "Searching for MobileNetV3", 2019, section 5.2
    linear,        // slope x
    relu,          // top where x >= top, x where threshold <= x < top, else slope (x - threshold)
  };
  Kind kind = Kind::linear;
  float slope = 0;  // of elu, linear and relu
  float threshold = 0, top = std::numeric_limits<float>::infinity();

  /// "silu", "relu top 6".
  std::string str() const;
  /// Whether the gradient is made from x; else from y, so that x need not be kept.
  bool gradient_of_input() const;
};

/// Of any activation but linear, relu and softmax, which are not made by ActivationOp: throws Error.
Curve curve_of(Activation activation);

/// y = curve(x), elementwise, computed in 32 bits; NaN stays NaN.
class ActivationOp final : public Op {
 public:
  /// Throws InputError where the curve's numbers are out of range: an elu's or relu's slope below 0, a relu's threshold
  /// below 0, its top not above the threshold, or no numbers.
  explicit ActivationOp(Curve curve);
  std::string_view name() const override { return "activation"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  Reuse reuse() const override { return Reuse::in_place; }
  std::string attributes() const override { return curve.str(); }

  const Curve curve;
};

/// dx = dy curve'(x) from (x, dy) or (y, dy), as Curve::gradient_of_input says. In a kink, the slope to its left; 0
/// where a relu has reached its top.
class ActivationGradOp final : public Op {
 public:
  explicit ActivationGradOp(Curve curve) : curve(curve) {}
  std::string_view name() const override { return "activation_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Reuse reuse() const override { return Reuse::in_place; }
  std::string attributes() const override { return curve.str(); }

  const Curve curve;
};

}  // namespace lockstep
