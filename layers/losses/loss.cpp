#include "layers/losses/loss.h"

#include <cmath>

#include "core/error.h"
#include "core/registry.h"
#include "layers/losses/categorical_loss.h"
#include "layers/losses/cross_entropy.h"
#include "layers/losses/element_loss.h"

namespace lockstep {

namespace {

using Custom = std::shared_ptr<const CustomLoss>;

/// By index in Loss::Options, then their other names, then those of the program.
Registry<Loss::Options>& all() {
  static Registry<Loss::Options> named("loss", {
                                                   {"sparse_categorical_crossentropy", SparseCategoricalCrossentropy{}},
                                                   {"categorical_crossentropy", CategoricalCrossentropy{}},
                                                   {"categorical_focal_crossentropy", CategoricalFocalCrossentropy{}},
                                                   {"binary_crossentropy", BinaryCrossentropy{}},
                                                   {"binary_focal_crossentropy", BinaryFocalCrossentropy{}},
                                                   {"mean_squared_error", MeanSquaredError{}},
                                                   {"mean_absolute_error", MeanAbsoluteError{}},
                                                   {"huber", Huber{}},
                                                   {"mse", MeanSquaredError{}},
                                                   {"mae", MeanAbsoluteError{}},
                                               });
  return named;
}

template <class Struct>
constexpr bool smooths = requires(Struct s) {
  s.label_smoothing;
};
template <class Struct>
constexpr bool focuses = requires(Struct s) {
  s.gamma;
};

}  // namespace

std::vector<std::string> Loss::names() { return all().names(); }

Loss::Loss(const std::string& name) : options_(all().find(name)) {}

std::string Loss::name() const {
  const auto* const custom = std::get_if<Custom>(&options_);
  return custom ? (*custom)->name : names()[options_.index()];
}

void register_loss(CustomLoss loss) {
  if (!loss.op) throw InputError("loss '{}' has no operator", loss.name);
  const std::string name = loss.name;
  all().add(name, std::make_shared<const CustomLoss>(std::move(loss)));
}

std::string Loss::str() const {
  std::string text = name();
  std::visit(
      [&]<class Struct>(const Struct& options) {
        const auto add = [&](std::string_view key, auto value) { text += fmt::format(" {} {}", key, value); };
        if constexpr (focuses<Struct>) add("alpha", options.alpha), add("gamma", options.gamma);
        if constexpr (smooths<Struct>) add("label_smoothing", options.label_smoothing);
        if constexpr (requires { options.apply_class_balancing; })
          add("apply_class_balancing", options.apply_class_balancing);
        if constexpr (requires { options.delta; }) add("delta", options.delta);
        if constexpr (requires { options.from_logits; }) add("from_logits", options.from_logits);
      },
      options_);
  return text;
}

void Loss::check() const {
  std::visit(
      [&]<class Struct>(const Struct& options) {
        if constexpr (smooths<Struct>)
          if (!(options.label_smoothing >= 0 && options.label_smoothing < 1))
            throw InputError("{}: label_smoothing is {}, expected at least 0 and below 1", name(),
                             options.label_smoothing);
        if constexpr (focuses<Struct>)
          if (!(options.alpha >= 0 && options.alpha <= 1) || !(options.gamma >= 0) || !std::isfinite(options.gamma))
            throw InputError("{}: alpha is {} and gamma {}, expected 0 to 1, and a number from 0", name(),
                             options.alpha, options.gamma);
        if constexpr (std::is_same_v<Struct, Huber>)
          if (!(options.delta > 0) || !std::isfinite(options.delta))
            throw InputError("{}: delta is {}, expected a number above 0", name(), options.delta);
      },
      options_);
}

void Loss::set_label_smoothing(float smoothing) {
  std::visit(
      [&]<class Struct>(Struct& options) {
        if constexpr (smooths<Struct>)
          options.label_smoothing = smoothing;
        else
          throw InputError("{} has no label smoothing, expected such as categorical_crossentropy", name());
      },
      options_);
  check();
}

Loss::Family Loss::family() const {
  if (const auto* const custom = std::get_if<Custom>(&options_)) return (*custom)->family;
  if (options_.index() <= 2) return Family::classes;
  return options_.index() <= 4 ? Family::binary : Family::values;
}

std::string Loss::end() const {
  if (const auto* const custom = std::get_if<Custom>(&options_)) return (*custom)->end;
  const bool logits = std::visit(
      []<class Struct>(const Struct& options) {
        if constexpr (requires { options.from_logits; }) return options.from_logits;
        return true;
      },
      options_);
  if (logits) return "";
  return family() == Family::classes ? "softmax" : "sigmoid";
}

Type Loss::target(const Shape& prediction) const {
  const auto* const custom = std::get_if<Custom>(&options_);
  if (custom ? !(*custom)->of_indices : !std::holds_alternative<SparseCategoricalCrossentropy>(options_))
    return {prediction, DType::f32};
  const auto dims = prediction.dims();
  if (dims.empty()) throw InputError("predictions are {}, which {} has no classes of", prediction.str(), name());
  return {Shape(dims.first(dims.size() - 1)), DType::i32};
}

std::shared_ptr<const Op> Loss::op(bool scaled) const {
  using Kind = ElementLoss::Kind;
  const auto element = [&](ElementLoss loss) { return std::make_shared<ElementLossOp>(loss, scaled); };
  const auto categorical = [&](CategoricalOptions options) {
    return std::make_shared<CategoricalLossOp>(options, scaled);
  };
  return std::visit(
      [&]<class Struct>(const Struct& o) -> std::shared_ptr<const Op> {
        if constexpr (std::is_same_v<Struct, Custom>)
          return o->op(scaled);
        else if constexpr (std::is_same_v<Struct, SparseCategoricalCrossentropy>)
          return std::make_shared<CrossEntropyOp>(scaled);
        else if constexpr (std::is_same_v<Struct, CategoricalCrossentropy>)
          return categorical({.label_smoothing = o.label_smoothing});
        else if constexpr (std::is_same_v<Struct, CategoricalFocalCrossentropy>)
          return categorical({.label_smoothing = o.label_smoothing, .focal = true, .alpha = o.alpha, .gamma = o.gamma});
        else if constexpr (std::is_same_v<Struct, BinaryCrossentropy>)
          return element({.kind = Kind::binary, .label_smoothing = o.label_smoothing});
        else if constexpr (std::is_same_v<Struct, BinaryFocalCrossentropy>)
          return element({.kind = Kind::focal,
                          .label_smoothing = o.label_smoothing,
                          .alpha = o.alpha,
                          .gamma = o.gamma,
                          .balanced = o.apply_class_balancing});
        else if constexpr (std::is_same_v<Struct, Huber>)
          return element({.kind = Kind::huber, .delta = o.delta});
        else
          return element({.kind = std::is_same_v<Struct, MeanSquaredError> ? Kind::squared : Kind::absolute});
      },
      options_);
}

}  // namespace lockstep
