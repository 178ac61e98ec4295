// metrics.jsonl: one JSON object a line, one for each step and one for each epoch. One thread writes.
#pragma once

#include <filesystem>
#include <string>

#include "launch/files/append_file.h"
#include "launch/train/report.h"

namespace lockstep {

/// The shortest decimal that reads back to the same bits, whether it is read as float or as double and then rounded;
/// always with a point or an exponent, so that -0.0 stays itself. JSON has no NaN or infinity: "nan", "inf" and "-inf"
/// come as strings.
std::string json_number(float value);
std::string json_number(double value);
/// json_number of what was a float before, where it was one: with its few digits.
std::string shortest(double value);

class MetricsWriter {
 public:
  /// Creates the file, or goes on with one. Throws InputError when it cannot be, or exists and is refused.
  explicit MetricsWriter(const std::filesystem::path& path, AppendFile::If exists = AppendFile::If::exists_refuse)
      : file_(path, exists) {}

  /// {"kind":"step", …} and {"kind":"epoch", …}. Each line is handed to the system at once, whole: what is there after
  /// a crash can be read. Throws Error when the file cannot be written.
  void step(const Report& report) { write("step", report); }
  void epoch(const Report& report) { write("epoch", report); }

 private:
  void write(const char* kind, const Report& report);

  AppendFile file_;
};

/// Writes to `to` the lines of `from` that tell of the first `steps` steps and of the epochs that ended with them,
/// atomically; nothing where there is no `from`. Where the steps end `within_epoch`, an epoch's line that says
/// otherwise is dropped: of a run that was shorter. A last line that was cut off is dropped, too. Throws InputError
/// that names the line where one is no JSON object with a step.
void keep_metrics(const std::filesystem::path& from, const std::filesystem::path& to, int64_t steps, bool within_epoch);

}  // namespace lockstep
