// A fit that a test invents: callbacks see the reports that it is told to give, and what they decide is kept. One
// thread.
#pragma once

#include <utility>
#include <vector>

#include "launch/train/callback.h"

namespace lockstep::testing {

class FakeTraining final : public Training {
 public:
  FakeTraining(const Network& network, bool validates) : network_(network), validates_(validates) {}

  const Network& network() const override { return network_; }
  int ranks() const override { return 1; }
  bool validates() const override { return validates_; }
  bool interrupted() const override { return false; }
  float lr() const override { return lr_; }
  void set_lr(float lr) override { lr_ = lr; }
  void stop() override { stopped = true; }
  /// Of one value, which tells how many epochs have ended.
  Weights weights() override { return {{"epochs", {static_cast<float>(epochs)}}}; }
  Snapshot snapshot() override { return {.weights = weights(), .slots = {}, .loss_scale = {}, .lr = lr_}; }
  void set_weights(const Weights& weights) override { set = weights; }

  /// A fit of one step an epoch, each of which ends with one of the validation's losses and the epoch's number as its
  /// own loss; returns the rate of each epoch.
  std::vector<float> fit(Callback& callback, const std::vector<double>& val_losses) {
    std::vector<float> rates;
    callback.on_train_begin(*this);
    for (const double loss : val_losses) {
      Report report{
          .epoch = epochs, .step = epochs, .loss = static_cast<float>(epochs), .metrics = {{"accuracy", {0.5}}}};
      callback.on_epoch_begin(*this, report);
      callback.on_step_begin(*this, report);
      report.lr = lr_;
      rates.push_back(lr_);
      callback.on_step_end(*this, report);
      ++epochs;
      if (validates_) report.validation = Evaluation{.loss = loss, .metrics = {{"accuracy", {1 / (1 + loss)}}}};
      callback.on_epoch_end(*this, report);
      if (stopped) break;
    }
    callback.on_train_end(*this);
    return rates;
  }

  int64_t epochs = 0;  // that have ended
  bool stopped = false;
  Weights set;

 private:
  const Network& network_;
  bool validates_;
  float lr_ = 0.5F;
};

}  // namespace lockstep::testing
