// Sets the learning rate at the begin of each epoch, as keras.callbacks.LearningRateScheduler. See callback.h for
// threads.
#pragma once

#include <functional>

#include "launch/train/callback.h"

namespace lockstep {

class LearningRateScheduler final : public Callback {
 public:
  /// From an epoch, counted from 0 over the whole run, and the rate so far to the new one (see Training::set_lr).
  using Function = std::function<float(int64_t epoch, float lr)>;
  explicit LearningRateScheduler(Function schedule) : schedule_(std::move(schedule)) {}
  Acts acts() const override { return Acts::on_epochs; }
  std::string name() const override { return "LearningRateScheduler"; }
  std::string decides_by() const override { return name(); }
  void on_epoch_begin(Training& training, const Report& report) override {
    training.set_lr(schedule_(report.epoch, training.lr()));
  }

 private:
  Function schedule_;
};

}  // namespace lockstep
