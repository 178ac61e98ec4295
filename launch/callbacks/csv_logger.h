// Writes a line an epoch into a CSV file, as keras.callbacks.CSVLogger. See callback.h for threads.
#pragma once

#include <optional>

#include "launch/append_file.h"
#include "launch/callback.h"

namespace lockstep {

struct CSVLoggerOptions {
  std::string separator = ",";
  bool append = false;  // to what is there, under its header; else a file that is there is refused
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

 private:
  std::filesystem::path path_;
  CSVLoggerOptions options_;
  std::optional<AppendFile> file_;
};

}  // namespace lockstep
