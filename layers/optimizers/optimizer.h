// The optimizers as the user names them. Plain options: copied freely, read by any thread.
#pragma once

#include <optional>

#include "layers/optimizers/update.h"

namespace lockstep {

/// What every optimizer can have beside its own options; names, where Keras has them, are Keras'. 0: none.
struct CommonOptions {
  /// Of the mean gradient, one of them at most: each element kept within ±clipvalue; each variable's norm, or the norm
  /// of all gradients, at most so much. Penalties of regularizers count, weight_decay does not.
  float clipvalue = 0, clipnorm = 0, global_clipnorm = 0;
  /// Lookahead around the optimizer (see LookaheadStep): every so many steps.
  int64_t lookahead_steps = 0;
  float lookahead_alpha = 0.5F;
  /// Keeps a moving average of the weights, which replaces them when a fit ends, as Keras' finalize_variable_values
  /// does: so it is what evaluate, predict and the weights file have. A later fit goes on from it.
  bool use_ema = false;
  float ema_momentum = 0.99F;
  /// Variables of one dimension (biases, and what norms scale and shift by) have no weight decay, and LARS and LAMB do
  /// not adapt to them. None: as the optimizer's reference does, which is so for LARS and LAMB alone.
  std::optional<bool> exclude_bias_and_norm = std::nullopt;
};

class Optimizer {
 public:
  using Options = std::variant<SGD, Adam, AdamW, RMSprop, Adagrad, LARS, LAMB, CustomFormula>;
  /// Implicit, so that compile({.optimizer = SGD{…}}) reads well.
  template <class One>
  requires(!std::same_as<One, Optimizer> && std::constructible_from<Options, std::in_place_type_t<One>, One>)
      Optimizer(One options, CommonOptions common = {})  // NOLINT
      : common(common), options_(std::in_place_type<One>, options) {}

  /// "sgd", "momentum" (SGD with momentum 0.9), "adam", "adamw", "rmsprop", "adagrad", "lars", "lamb", or one that was
  /// registered. Throws InputError with the nearest name.
  static Optimizer from_name(const std::string& name);
  static std::vector<std::string> names();

  std::string name() const;
  float lr() const;
  void set_lr(float lr);
  /// Sets the option of that name (as `options` lists them); a switch to 0 or 1. Throws InputError where the optimizer
  /// has none of that name, or the value is none that it can have.
  void set(const std::string& option, double value);
  /// Calls visit(name, value) for each option: float, bool or int64_t.
  template <class Visit>
  void options(Visit visit) const {
    visit_all(*this, visit);
  }
  /// Throws InputError where an option is out of range.
  void check() const;
  bool excludes_bias_and_norm() const;

  /// Variables kept beside each parameter, by their names in checkpoints: "momentum" (SGD), "m" and "v" (Adam), …,
  /// "slow" after them with Lookahead, "ema" with an average. The order is that of VariableStore's slots.
  std::vector<std::string> slot_names() const;
  int slots() const { return static_cast<int>(slot_names().size()); }
  /// The formulas that make an update, in their order; all of an optimizer's own slots are the first one's.
  std::vector<Formula> formulas() const;

  CommonOptions common;

 private:
  template <class Self, class Visit>
  static void visit_all(Self& self, Visit& visit);

  Options options_;
};

/// Makes the optimizer known by its name: Optimizer::from_name("NAME"), whose learning rate and options can be set as
/// those of others. For the main thread, before a model is compiled. Throws InputError where the name is taken, there
/// is no update, or an option has the name of one that every optimizer has.
void register_optimizer(CustomOptimizer optimizer);

template <class Self, class Visit>
void Optimizer::visit_all(Self& self, Visit& visit) {
  std::visit([&]<class One>(One& options) { One::options(options, std::ref(visit)); }, self.options_);
  auto& common = self.common;
  visit("clipvalue", common.clipvalue);
  visit("clipnorm", common.clipnorm);
  visit("global_clipnorm", common.global_clipnorm);
  visit("lookahead_steps", common.lookahead_steps);
  visit("lookahead_alpha", common.lookahead_alpha);
  visit("use_ema", common.use_ema);
  visit("ema_momentum", common.ema_momentum);
  if constexpr (std::is_const_v<Self>) {
    visit("exclude_bias_and_norm", self.excludes_bias_and_norm());
  } else {
    bool excludes = self.excludes_bias_and_norm();
    visit("exclude_bias_and_norm", excludes);
    common.exclude_bias_and_norm = excludes;
  }
}

}  // namespace lockstep
