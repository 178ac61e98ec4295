#include "layers/optimizers/optimizer.h"

#include <algorithm>
#include <cmath>

#include "core/registry.h"

namespace lockstep {

namespace {

/// All of them, by the names that users give.
Registry<Optimizer>& all() {
  static Registry<Optimizer> named("optimizer", {{"sgd", SGD{}},
                                                 {"momentum", SGD{.momentum = 0.9F}},
                                                 {"adam", Adam{}},
                                                 {"adamw", AdamW{}},
                                                 {"rmsprop", RMSprop{}},
                                                 {"adagrad", Adagrad{}},
                                                 {"lars", LARS{}},
                                                 {"lamb", LAMB{}}});
  return named;
}

}  // namespace

std::vector<std::string> Optimizer::names() { return all().names(); }

Optimizer Optimizer::from_name(const std::string& name) { return all().find(name); }

void register_optimizer(CustomOptimizer optimizer) {
  if (!optimizer.update) throw InputError("optimizer '{}' has no update", optimizer.name);
  const std::string name = optimizer.name;
  std::vector<std::string> taken;  // what one without options of its own has
  Optimizer(CustomFormula(std::make_shared<const CustomOptimizer>())).options([&](std::string_view option, auto) {
    taken.emplace_back(option);
  });
  for (const auto& [option, value] : optimizer.options) {
    if (std::ranges::find(taken, option) != taken.end())
      throw InputError("optimizer '{}': there is an option '{}' already", name, option);
    taken.push_back(option);
  }
  all().add(name, CustomFormula(std::make_shared<const CustomOptimizer>(std::move(optimizer))));
}

std::string Optimizer::name() const {
  return std::visit([](const auto& options) { return std::string(options.name); }, options_);
}

float Optimizer::lr() const {
  return std::visit([](const auto& options) { return options.lr; }, options_);
}

void Optimizer::set_lr(float lr) {
  std::visit([lr](auto& options) { options.lr = lr; }, options_);
}

void Optimizer::set(const std::string& option, double value) {
  std::vector<std::string> names;
  bool found = false;
  const auto assign = [&]<class T>(std::string_view key, T& to) {
    names.emplace_back(key);
    if (key != option) return;
    found = true;
    if constexpr (std::is_floating_point_v<T>) {
      to = static_cast<T>(value);
    } else {
      const double most = std::is_same_v<T, bool> ? 1 : 0x1p31;
      if (!(value >= 0 && value <= most) || value != std::floor(value))
        throw InputError("{}: got {} {}, expected {}", name(), key, value,
                         std::is_same_v<T, bool> ? "0 or 1" : "a whole number from 0");
      to = static_cast<T>(value);
    }
  };
  visit_all(*this, assign);
  if (!found) throw unknown(fmt::format("option of {}", name()), option, names);
}

void Optimizer::check() const {
  std::visit([](const auto& options) { options.check(); }, options_);
  const auto& c = common;
  int clips = 0;
  for (const auto& [key, value] :
       {std::pair{"clipvalue", c.clipvalue}, {"clipnorm", c.clipnorm}, {"global_clipnorm", c.global_clipnorm}}) {
    expect_from_zero("gradients", key, value);
    if (value > 0) ++clips;
  }
  if (clips > 1)
    throw InputError("gradients: got clipvalue {}, clipnorm {} and global_clipnorm {}, expected one of them at most",
                     c.clipvalue, c.clipnorm, c.global_clipnorm);
  if (c.lookahead_steps < 0)
    throw InputError("lookahead: got lookahead_steps {}, expected 0 (none) or more", c.lookahead_steps);
  if (!(c.lookahead_alpha > 0 && c.lookahead_alpha <= 1))
    throw InputError("lookahead: got lookahead_alpha {}, expected 0 < lookahead_alpha <= 1", c.lookahead_alpha);
  expect_share("average", "ema_momentum", c.ema_momentum);
}

bool Optimizer::excludes_bias_and_norm() const {
  return common.exclude_bias_and_norm.value_or(
      std::visit([](const auto& options) { return options.excludes_bias_and_norm; }, options_));
}

std::vector<std::string> Optimizer::slot_names() const {
  auto names = std::visit([](const auto& options) { return options.slot_names(); }, options_);
  if (common.lookahead_steps > 0) names.emplace_back("slow");
  if (common.use_ema) names.emplace_back("ema");
  return names;
}

std::vector<Formula> Optimizer::formulas() const {
  return std::visit(
      []<class One>(const One& one) -> std::vector<Formula> {
        if constexpr (std::is_same_v<One, LAMB>)
          return {LambDirection{one.beta_1, one.beta_2, one.epsilon, one.weight_decay}, LambStep{}};
        else
          return {one};
      },
      options_);
}

}  // namespace lockstep
