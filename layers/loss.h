// The losses as the user names them. Plain options: copied freely, read by any thread.
#pragma once

#include <memory>
#include <string>
#include <variant>

#include "core/op.h"

namespace lockstep {

/// -log of the probability that the network gives the sample's class; targets are class indices.
struct SparseCategoricalCrossentropy {};

class Loss {
 public:
  Loss(SparseCategoricalCrossentropy options) : options_(options) {}  // NOLINT: implicit, as optimizers are
  /// As Keras names them: "sparse_categorical_crossentropy". Throws InputError with the nearest name.
  Loss(const std::string& name);                       // NOLINT
  Loss(const char* name) : Loss(std::string(name)) {}  // NOLINT

  std::string name() const;
  /// What it compares one sample's prediction with.
  Type target(const Shape& prediction) const;
  /// Inputs (logits, targets, lane_state) and, where `scaled`, loss_scale; see CrossEntropyOp.
  std::shared_ptr<const Op> op(bool scaled) const;

 private:
  std::variant<SparseCategoricalCrossentropy> options_;
};

}  // namespace lockstep
