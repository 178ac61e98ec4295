#include "launch/callbacks/early_stopping.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/log.h"

namespace lockstep {

EarlyStopping::EarlyStopping(EarlyStoppingOptions options)
    : options_(std::move(options)), monitor_("EarlyStopping", options_.monitor, options_.mode, options_.min_delta) {
  for (const auto& [name, number] :
       {std::pair{"patience", options_.patience}, {"start_from_epoch", options_.start_from_epoch}})
    if (number < 0) throw InputError("EarlyStopping: {} is {}, expected a number of epochs from 0", name, number);
}

void EarlyStopping::on_train_begin(Training&) {
  best_.reset();
  first_epoch_ = stopped_epoch_ = best_epoch_ = std::nullopt;
  wait_ = 0;
  weights_.clear();
}

void EarlyStopping::on_epoch_begin(Training& training, const Report& report) {
  if (!first_epoch_) first_epoch_ = report.epoch;
  if (stopped_epoch_) training.stop();  // it was, and a checkpoint of it goes on
}

void EarlyStopping::on_step_end(Training& training, const Report& report) {
  if (report.epoch == first_epoch_) monitor_.check(training, report);
}

void EarlyStopping::on_epoch_end(Training& training, const Report& report) {
  const auto value = monitor_.of(report);
  const int64_t epoch = report.epoch - *first_epoch_;
  if (!value || epoch < options_.start_from_epoch) return;
  ++wait_;
  if (monitor_.better(*value, best_)) {
    best_ = value;
    best_epoch_ = report.epoch;
    if (options_.restore_best_weights) weights_ = training.weights();
    if (monitor_.better(*value, options_.baseline)) wait_ = 0;
    return;
  }
  // As in Keras, a fit has two epochs at least.
  if (wait_ < options_.patience || epoch == 0) return;
  stopped_epoch_ = report.epoch;
  training.stop();
}

void EarlyStopping::on_train_end(Training& training) {
  if (stopped_epoch_)
    log().info("stopped early at epoch {}; the best {} was that of epoch {}", *stopped_epoch_ + 1, options_.monitor,
               best_epoch_.value_or(*first_epoch_) + 1);
  if (!weights_.empty() && !training.interrupted()) training.set_weights(weights_);
}

std::string EarlyStopping::decides_by() const {
  return fmt::format(
      "{}(monitor={}, min_delta={}, patience={}, mode={}, baseline={}, restore_best_weights={}, start_from_epoch={})",
      name(), options_.monitor, options_.min_delta, options_.patience, name_of(options_.mode),
      options_.baseline ? fmt::format("{}", *options_.baseline) : "none", options_.restore_best_weights,
      options_.start_from_epoch);
}

namespace {

nlohmann::json epoch_json(const std::optional<int64_t>& epoch) {
  return epoch ? nlohmann::json(*epoch) : nlohmann::json();
}
std::optional<int64_t> epoch_of(const nlohmann::json& json) {
  return json.is_null() ? std::nullopt : std::optional(json.get<int64_t>());
}

}  // namespace

CallbackState EarlyStopping::state() const {
  const nlohmann::json json{{"best", measure_json(best_)},
                            {"wait", wait_},
                            {"first_epoch", epoch_json(first_epoch_)},
                            {"stopped_epoch", epoch_json(stopped_epoch_)},
                            {"best_epoch", epoch_json(best_epoch_)}};
  return {json.dump(), weights_};
}

void EarlyStopping::restore(const CallbackState& state) {
  const auto json = nlohmann::json::parse(state.text);
  best_ = measure_of(json.at("best"));
  wait_ = json.at("wait").get<int64_t>();
  first_epoch_ = epoch_of(json.at("first_epoch"));
  stopped_epoch_ = epoch_of(json.at("stopped_epoch"));
  best_epoch_ = epoch_of(json.at("best_epoch"));
  weights_ = state.weights;
}

}  // namespace lockstep
