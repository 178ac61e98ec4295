// Writes a line an epoch into a CSV file, as keras.callbacks.CSVLogger. See callback.h for threads.
#pragma once

#include <optional>

#include "launch/files/append_file.h"
#include "launch/train/callback.h"

namespace lockstep {

struct CSVLoggerOptions {
  std::string separator = ",";
  /// To what is there, under its header; else a file that is there is refused. Where a fit goes on, lines of epochs
  /// that it makes again are taken off.
  bool append = false;
};

/// Columns: epoch (from 0 over the whole run), the measures, lr. NA stands where an epoch was not validated.
class CSVLogger final : public Callback {
 public:
  explicit CSVLogger(std::filesystem::path path, CSVLoggerOptions options = {})
      : path_(std::move(path)), options_(std::move(options)) {}
  Acts acts() const override { return Acts::never; }
  /// Opens the file; throws InputError where it cannot be.
  void on_train_begin(Training& training) override;
  /// Writes at once. Throws Error where the file cannot be written.
  void on_epoch_end(Training& training, const Report& report) override;
  std::string name() const override { return "CSVLogger"; }
  CallbackState state() const override { return {file_ ? std::to_string(file_->size()) : ""}; }
  void restore(const CallbackState& state) override { file_->cut(std::stoll(state.text)); }

 private:
  std::filesystem::path path_;
  CSVLoggerOptions options_;
  std::optional<AppendFile> file_;
};

}  // namespace lockstep
