#include "launch/callbacks/early_stopping.h"

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

void EarlyStopping::on_epoch_begin(Training&, const Report& report) {
  if (!first_epoch_) first_epoch_ = report.epoch;
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
  if (!weights_.empty()) training.set_weights(weights_);
}

}  // namespace lockstep
