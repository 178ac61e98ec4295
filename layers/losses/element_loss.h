// Losses that compare predictions with targets number by number, and their gradients. Immutable: any thread.
#pragma once

#include "layers/base/layer.h"

namespace lockstep {

struct ElementLoss {
  enum class Kind : unsigned char {
    squared,   // (x - t)^2
    absolute,  // |x - t|; its slope at 0 is 0
    huber,     // d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), d = x - t: Huber, "Robust estimation of a
               // location parameter", 1964
    binary,    // cross-entropy of t and p = sigmoid(x): max(x, 0) - x t + log(1 + exp(-|x|))
    focal,     // (1 - p_t)^gamma times the same, p_t = t p + (1 - t) (1 - p): Lin et al., "Focal loss for dense object
               // detection", ICCV 2017, eq. 4; where balanced, times t alpha + (1 - t) (1 - alpha)
  };
  Kind kind = Kind::squared;
  float delta = 1;
  float label_smoothing = 0;  // of binary and focal: t (1 - s) + s / 2 instead of t
  float alpha = 0.25F, gamma = 2;
  bool balanced = false;

  std::string str() const;
};

/// Inputs: x f32[N, …], predictions or, of binary and focal, what a sigmoid at the network's end takes; targets f32 of
/// the same shape; lane_state. Where `scaled`, loss_scale f32[2] at the end, by whose scale the gradient alone is
/// multiplied. Output f32[1]: over the lane's real samples, the sum of each sample's mean over its numbers.
class ElementLossOp final : public Op {
 public:
  explicit ElementLossOp(ElementLoss loss, bool scaled = false) : loss(loss), scaled(scaled) {}
  std::string_view name() const override { return "element_loss"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  std::string attributes() const override { return loss.str() + (scaled ? " scaled" : ""); }

  const ElementLoss loss;
  const bool scaled;
};

/// Its gradient by x, from the same inputs; 0 for padding samples.
class ElementLossGradOp final : public Op {
 public:
  explicit ElementLossGradOp(ElementLoss loss, bool scaled = false) : loss(loss), scaled(scaled) {}
  std::string_view name() const override { return "element_loss_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::string attributes() const override { return loss.str() + (scaled ? " scaled" : ""); }

  const ElementLoss loss;
  const bool scaled;
};

}  // namespace lockstep
