// Stops a fit when a measure has stopped improving, as keras.callbacks.EarlyStopping. See callback.h for threads.
#pragma once

#include "launch/callbacks/monitor.h"

namespace lockstep {

struct EarlyStoppingOptions {
  std::string monitor = "val_loss";
  double min_delta = 0;  // less is no improvement
  int64_t patience = 0;  // stop after so many epochs in a row without improvement (0: after the first)
  MonitorMode mode = MonitorMode::automatic;
  std::optional<double> baseline = {};  // an epoch that is not better than this is one without improvement
  bool restore_best_weights = false;    // leave those of the best epoch, whether or not the fit was stopped
  int64_t start_from_epoch = 0;         // epochs of the fit before which nothing is looked at
};

class EarlyStopping final : public Callback {
 public:
  /// Throws InputError where a number is out of range.
  explicit EarlyStopping(EarlyStoppingOptions options = {});
  Acts acts() const override { return Acts::on_epochs; }
  void on_train_begin(Training& training) override;
  void on_epoch_begin(Training& training, const Report& report) override;
  void on_step_end(Training& training, const Report& report) override;
  void on_epoch_end(Training& training, const Report& report) override;
  void on_train_end(Training& training) override;
  std::string name() const override { return "EarlyStopping"; }
  std::string decides_by() const override;
  CallbackState state() const override;
  void restore(const CallbackState& state) override;

  /// The epoch, counted from 0 over the whole run, that the last fit was stopped at; none where it was not. On rank 0.
  std::optional<int64_t> stopped_epoch() const { return stopped_epoch_; }
  std::optional<int64_t> best_epoch() const { return best_epoch_; }

 private:
  EarlyStoppingOptions options_;
  Monitor monitor_;
  std::optional<double> best_;
  std::optional<int64_t> first_epoch_, stopped_epoch_, best_epoch_;
  int64_t wait_ = 0;
  Weights weights_;  // of the best epoch
};

}  // namespace lockstep
