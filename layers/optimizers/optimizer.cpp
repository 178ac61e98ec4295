#include "layers/optimizers/optimizer.h"

#include <vector>

#include "core/error.h"
#include "layers/optimizers/adam.h"
#include "layers/optimizers/sgd.h"

namespace lockstep {

Optimizer Optimizer::from_name(const std::string& name) {
  if (name == "sgd") return SGD{};
  if (name == "momentum") return SGD{.momentum = 0.9F};
  if (name == "adam") return Adam{};
  throw unknown("optimizer", name, std::vector<std::string>{"sgd", "momentum", "adam"});
}

std::string Optimizer::name() const {
  const auto* sgd = std::get_if<SGD>(&options_);
  if (!sgd) return "adam";
  return sgd->momentum > 0 ? "momentum" : "sgd";
}

float Optimizer::lr() const {
  return std::visit([](const auto& options) { return options.lr; }, options_);
}

void Optimizer::set_lr(float lr) {
  std::visit([lr](auto& options) { options.lr = lr; }, options_);
}

float Optimizer::weight_decay() const {
  return std::visit([](const auto& options) { return options.weight_decay; }, options_);
}

void Optimizer::set_weight_decay(float weight_decay) {
  std::visit([weight_decay](auto& options) { options.weight_decay = weight_decay; }, options_);
}

int Optimizer::slots() const {
  const auto* sgd = std::get_if<SGD>(&options_);
  if (!sgd) return 2;
  return sgd->momentum > 0 ? 1 : 0;
}

std::shared_ptr<const Op> Optimizer::op() const {
  if (const auto* sgd = std::get_if<SGD>(&options_))
    return std::make_shared<SgdOp>(sgd->momentum, sgd->nesterov, sgd->weight_decay);
  const auto& adam = std::get<Adam>(options_);
  return std::make_shared<AdamOp>(adam.beta_1, adam.beta_2, adam.epsilon, adam.weight_decay);
}

}  // namespace lockstep
