// Lowers the learning rate when a measure has stopped improving, as keras.callbacks.ReduceLROnPlateau. See callback.h
// for threads.
#pragma once

#include "launch/callbacks/monitor.h"

namespace lockstep {

struct ReduceLROnPlateauOptions {
  std::string monitor = "val_loss";
  float factor = 0.1F;    // the new rate is the old one times this
  int64_t patience = 10;  // epochs in a row without improvement after which the rate is lowered
  MonitorMode mode = MonitorMode::automatic;
  double min_delta = 1e-4;  // less is no improvement
  int64_t cooldown = 0;     // epochs after a change in which nothing is counted
  float min_lr = 0;         // no lower than this
};

class ReduceLROnPlateau final : public Callback {
 public:
  /// Throws InputError where a number is out of range.
  explicit ReduceLROnPlateau(ReduceLROnPlateauOptions options = {});
  Acts acts() const override { return Acts::on_epochs; }
  void on_train_begin(Training& training) override;
  void on_step_end(Training& training, const Report& report) override;
  void on_epoch_end(Training& training, const Report& report) override;
  std::string name() const override { return "ReduceLROnPlateau"; }
  std::string decides_by() const override;
  CallbackState state() const override;
  void restore(const CallbackState& state) override;

 private:
  ReduceLROnPlateauOptions options_;
  Monitor monitor_;
  std::optional<double> best_;
  int64_t wait_ = 0, cooldown_ = 0;
  bool checked_ = false;
};

}  // namespace lockstep
