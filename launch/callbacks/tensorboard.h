// Event files for TensorBoard, as keras.callbacks.TensorBoard: `tensorboard --logdir FOLDER` shows them while training
// goes on, and after a crash. See callback.h for threads.
#pragma once

#include <optional>

#include "launch/callbacks/event_file.h"
#include "launch/train/callback.h"

namespace lockstep {

struct TensorBoardOptions {
  int64_t update_freq = 1;     // write every N steps; 0: epochs alone
  int64_t histogram_freq = 0;  // of all variables, every N epochs; 0: none
};

/// By step: the measures, lr and images_per_second. By epoch: epoch_loss and so on, and val_loss and so on, and
/// histograms of the variables under their names.
class TensorBoard final : public Callback {
 public:
  /// Throws InputError where a number is out of range.
  explicit TensorBoard(std::filesystem::path folder, TensorBoardOptions options = {});
  Acts acts() const override { return options_.histogram_freq > 0 ? Acts::on_epochs : Acts::never; }
  /// Begins a file. Throws InputError where that cannot be.
  void on_train_begin(Training& training) override;
  void on_step_end(Training& training, const Report& report) override;
  void on_epoch_end(Training& training, const Report& report) override;

 private:
  std::filesystem::path folder_;
  TensorBoardOptions options_;
  std::optional<EventFile> file_;
};

}  // namespace lockstep
