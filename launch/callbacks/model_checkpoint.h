// Writes the weights behind epochs, as keras.callbacks.ModelCheckpoint with save_weights_only. See callback.h for
// threads.
#pragma once

#include "launch/callbacks/monitor.h"

namespace lockstep {

struct ModelCheckpointOptions {
  std::string monitor = "val_loss";
  bool save_best_only = false;  // only where the measure is better than in all epochs before
  MonitorMode mode = MonitorMode::automatic;
  int64_t period = 1;  // of epochs, counted from 1, those that this divides
};

class ModelCheckpoint final : public Callback {
 public:
  /// `path` is that of a safetensors file, in which {epoch}, counted from 1, and the names of measures stand for what
  /// they are: "weights-{epoch:02d}-{val_loss:.2f}.safetensors". Folders are made. A file that is there is replaced,
  /// whole. Throws InputError where a number is out of range.
  explicit ModelCheckpoint(std::string path, ModelCheckpointOptions options = {});
  Acts acts() const override { return Acts::on_epochs; }
  void on_train_begin(Training& training) override;
  /// Throws InputError where the path or the measure cannot be, before an epoch is spent.
  void on_step_end(Training& training, const Report& report) override;
  void on_epoch_end(Training& training, const Report& report) override;
  std::string name() const override { return "ModelCheckpoint"; }
  CallbackState state() const override;
  void restore(const CallbackState& state) override;

  /// Written last; empty where nothing was. On rank 0.
  const std::string& written() const { return written_; }

 private:
  std::string path_of(const Report& report) const;

  std::string path_, written_;
  ModelCheckpointOptions options_;
  Monitor monitor_;
  std::optional<double> best_;
  bool checked_ = false;
};

}  // namespace lockstep
