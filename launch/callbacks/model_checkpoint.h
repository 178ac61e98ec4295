// Writes the weights after epochs, as keras.callbacks.ModelCheckpoint with save_weights_only. See callback.h for
// threads.
#pragma once

#include "launch/callbacks/monitor.h"

namespace lockstep {

struct ModelCheckpointOptions {
  std::string monitor = "val_loss";
  /// Only where the measure is better than in all epochs before. Checkpoints keep these weights too, and a fit that
  /// goes on from one writes them again first.
  bool save_best_only = false;
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
  /// What a path may name: measures and what they were.
  using Measured = std::vector<std::pair<std::string, double>>;
  std::string path_of(int64_t epoch, const Measured& measured) const;

  std::string path_, written_;
  ModelCheckpointOptions options_;
  Monitor monitor_;
  std::optional<double> best_;
  // Of the best epoch, with save_best_only: its file must be there again where a fit goes on, which may be in another
  // folder, or from a step before the epoch that the file is of now.
  Weights best_weights_;
  int64_t best_epoch_ = 0;
  Measured best_measured_;
  const Network* network_ = nullptr;  // of the fit
  bool checked_ = false;
};

}  // namespace lockstep
