#include "launch/callbacks/reduce_lr_on_plateau.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/log.h"

namespace lockstep {

ReduceLROnPlateau::ReduceLROnPlateau(ReduceLROnPlateauOptions options)
    : options_(std::move(options)), monitor_("ReduceLROnPlateau", options_.monitor, options_.mode, options_.min_delta) {
  if (!(options_.factor > 0 && options_.factor < 1))
    throw InputError("ReduceLROnPlateau: factor is {}, expected a number between 0 and 1", options_.factor);
  if (!(options_.min_lr >= 0))
    throw InputError("ReduceLROnPlateau: min_lr is {}, expected a number from 0", options_.min_lr);
  for (const auto& [name, number] : {std::pair{"patience", options_.patience}, {"cooldown", options_.cooldown}})
    if (number < 0) throw InputError("ReduceLROnPlateau: {} is {}, expected a number of epochs from 0", name, number);
}

void ReduceLROnPlateau::on_train_begin(Training&) {
  best_.reset();
  wait_ = cooldown_ = 0;
  checked_ = false;
}

void ReduceLROnPlateau::on_step_end(Training& training, const Report& report) {
  if (!checked_) monitor_.check(training, report);
  checked_ = true;
}

void ReduceLROnPlateau::on_epoch_end(Training& training, const Report& report) {
  const auto value = monitor_.of(report);
  if (!value) return;
  if (cooldown_ > 0) {
    --cooldown_;
    wait_ = 0;
  }
  if (monitor_.better(*value, best_)) {
    best_ = value;
    wait_ = 0;
    return;
  }
  if (cooldown_ > 0 || ++wait_ < options_.patience || !(training.lr() > options_.min_lr)) return;
  training.set_lr(std::max(training.lr() * options_.factor, options_.min_lr));
  log().info("epoch {}: the learning rate is lowered to {}", report.epoch + 1, training.lr());
  cooldown_ = options_.cooldown;
  wait_ = 0;
}

std::string ReduceLROnPlateau::decides_by() const {
  return fmt::format("{}(monitor={}, factor={}, patience={}, mode={}, min_delta={}, cooldown={}, min_lr={})", name(),
                     options_.monitor, options_.factor, options_.patience, name_of(options_.mode), options_.min_delta,
                     options_.cooldown, options_.min_lr);
}

CallbackState ReduceLROnPlateau::state() const {
  return {nlohmann::json{{"best", measure_json(best_)}, {"wait", wait_}, {"cooldown", cooldown_}}.dump()};
}

void ReduceLROnPlateau::restore(const CallbackState& state) {
  const auto json = nlohmann::json::parse(state.text);
  best_ = measure_of(json.at("best"));
  wait_ = json.at("wait").get<int64_t>();
  cooldown_ = json.at("cooldown").get<int64_t>();
}

}  // namespace lockstep
