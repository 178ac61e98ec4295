#include "layers/optimizers/optimizer.h"

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

float Optimizer::lr() const {
  return std::visit([](const auto& options) { return options.lr; }, options_);
}

void Optimizer::set_lr(float lr) {
  std::visit([lr](auto& options) { options.lr = lr; }, options_);
}

void Optimizer::set_weight_decay(float weight_decay) {
  std::visit([weight_decay](auto& options) { options.weight_decay = weight_decay; }, options_);
}

std::vector<std::string> Optimizer::slot_names() const {
  if (adam()) return {"m", "v"};
  if (sgd()->momentum > 0) return {"momentum"};
  return {};
}

std::shared_ptr<const Op> Optimizer::op(bool scaled) const {
  if (const SGD* s = sgd()) return std::make_shared<SgdOp>(s->momentum, s->nesterov, s->weight_decay, scaled);
  const Adam& a = *adam();
  return std::make_shared<AdamOp>(a.beta_1, a.beta_2, a.epsilon, a.weight_decay, scaled);
}

}  // namespace lockstep
