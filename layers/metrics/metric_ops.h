// Sums that metrics are made of: right predictions among the k largest, and how often each class was predicted for
// each. Immutable: any thread.
#pragma once

#include "layers/base/layer.h"

namespace lockstep {

/// Inputs: predictions f32[N,…,K], logits or probabilities; targets: class indices i32[N,…], or f32 of the predictions'
/// shape, whose first maximum is the class; lane_state. Output f32[1]: in how many rows of the lane's real samples
/// fewer than k classes come before the target, by their value, or where that is equal by their index. A row with NaN
/// counts for none.
class TopKOp final : public Op {
 public:
  explicit TopKOp(int64_t k) : k(k) {}
  std::string_view name() const override { return "top_k"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::string attributes() const override { return "k " + std::to_string(k); }

  const int64_t k;
};

/// From the same inputs, f32[K,K]: how many rows have the target class of the row and the predicted class, the first
/// maximum, of the column. Where `binary`, each number of f32[N,…] is one prediction of one of two classes, class 1
/// where it is above `threshold`; targets are f32 of the same shape, class 1 above 1/2; and the output is f32[2,2].
/// Predictions that are NaN count for none.
class ConfusionOp final : public Op {
 public:
  explicit ConfusionOp(bool binary = false, float threshold = 0) : binary(binary), threshold(threshold) {}
  std::string_view name() const override { return "confusion"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::string attributes() const override { return binary ? "binary" : ""; }

  const bool binary;
  const float threshold;
};

}  // namespace lockstep
