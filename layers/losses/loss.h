// The losses as the user names them. Plain options: copied freely, read by any thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "core/graph/op.h"

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

struct CustomLoss;

class Loss {
 public:
  using Options = std::variant<SparseCategoricalCrossentropy, CategoricalCrossentropy, CategoricalFocalCrossentropy,
                               BinaryCrossentropy, BinaryFocalCrossentropy, MeanSquaredError, MeanAbsoluteError, Huber,
                               std::shared_ptr<const CustomLoss>>;

  /// Any of the structs above, or one of a program's own. Throws InputError for an option out of range.
  template <class Struct>
  requires std::is_constructible_v<Options, Struct> Loss(Struct options)
      : options_(options) {  // NOLINT: implicit, so that compile({.loss = Huber{…}}) reads well
    check();
  }
  /// As Keras names them: "sparse_categorical_crossentropy", "mse", "mean_squared_error", …, with their defaults.
  /// Throws InputError with the nearest name.
  Loss(const std::string& name);                       // NOLINT
  Loss(const char* name) : Loss(std::string(name)) {}  // NOLINT
  static std::vector<std::string> names();

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

/// A loss of a program's own.
struct CustomLoss {
  std::string name;
  Loss::Family family = Loss::Family::values;
  /// See Loss::end: "softmax", "sigmoid" or "".
  std::string end = {};
  /// Whether it compares with class indices; else with numbers of the predictions' shape.
  bool of_indices = false;
  /// See Loss::op. The operator's rules and shapes are those of ElementLossOp.
  std::function<std::shared_ptr<const Op>(bool scaled)> op;
};

/// Makes the loss known by its name: Loss("NAME"). For the main thread, before a model is compiled. Throws InputError
/// where the name is taken, or there is no operator.
void register_loss(CustomLoss loss);

}  // namespace lockstep
