// The losses as the user names them. Plain options: copied freely, read by any thread.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "core/op.h"

namespace lockstep {

/// Losses of classes and of probabilities are made from what a softmax or a sigmoid at the network's end takes, so that
/// no probability is so small that its gradient is lost. With `from_logits` the network ends in these numbers itself,
/// and its predictions are no probabilities. Each is a mean over the samples, of a sample's mean over its pixels or
/// numbers where it has many.

/// -log of the probability of the sample's class; targets are class indices, one a sample or one a pixel.
struct SparseCategoricalCrossentropy {
  bool from_logits = false;
};
/// -sum_k t_k log p_k; targets are weights of the classes, and class indices stand for a weight of 1. See
/// CategoricalLossOp for the smoothing.
struct CategoricalCrossentropy {
  float label_smoothing = 0;
  bool from_logits = false;
};
/// The same times alpha (1 - p_k)^gamma.
struct CategoricalFocalCrossentropy {
  float alpha = 0.25F, gamma = 2, label_smoothing = 0;
  bool from_logits = false;
};
/// -t log p - (1 - t) log(1 - p) for each number; of data with two classes and a network with one output, t is the
/// class.
struct BinaryCrossentropy {
  float label_smoothing = 0;
  bool from_logits = false;
};
/// See ElementLoss::Kind::focal; alpha is used where `apply_class_balancing` is.
struct BinaryFocalCrossentropy {
  bool apply_class_balancing = false;
  float alpha = 0.25F, gamma = 2, label_smoothing = 0;
  bool from_logits = false;
};
/// (p - t)^2 and |p - t|, p the network's output, whatever it ends in.
struct MeanSquaredError {};
struct MeanAbsoluteError {};
/// Square near 0, and straight where |p - t| is above delta.
struct Huber {
  float delta = 1;
};

class Loss {
 public:
  using Options = std::variant<SparseCategoricalCrossentropy, CategoricalCrossentropy, CategoricalFocalCrossentropy,
                               BinaryCrossentropy, BinaryFocalCrossentropy, MeanSquaredError, MeanAbsoluteError, Huber>;

  /// Any of the structs above. Throws InputError for an option out of range.
  template <class Struct>
  requires std::is_constructible_v<Options, Struct> Loss(Struct options)
      : options_(options) {  // NOLINT: implicit, so that compile({.loss = Huber{…}}) reads well
    check();
  }
  /// As Keras names them: "sparse_categorical_crossentropy", "mse", "mean_squared_error", …, with their defaults.
  /// Throws InputError with the nearest name.
  Loss(const std::string& name);                       // NOLINT
  Loss(const char* name) : Loss(std::string(name)) {}  // NOLINT
  static const std::vector<std::string>& names();

  std::string name() const;
  /// The name with all options: "huber delta 0.5".
  std::string str() const;
  /// Throws InputError where the loss knows no smoothing.
  void set_label_smoothing(float smoothing);

  /// What is predicted: one of several classes, each of several things by itself, or numbers.
  enum class Family : unsigned char { classes, binary, values };
  Family family() const;
  /// What the network must end in, whose input the loss then takes; "" where it takes the network's output.
  std::string end() const;
  /// What it compares one sample's prediction with: class indices i32[…], or f32 of the prediction's shape.
  Type target(const Shape& prediction) const;
  /// Inputs (predictions or what `end` takes, targets, lane_state) and, where `scaled`, loss_scale.
  std::shared_ptr<const Op> op(bool scaled) const;

 private:
  void check() const;

  Options options_;
};

}  // namespace lockstep
