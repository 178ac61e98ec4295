// metrics.jsonl: one JSON object a line, one for each step and one for each epoch. One thread writes.
#pragma once

#include <filesystem>
#include <string>

#include "launch/append_file.h"
#include "launch/report.h"

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
  /// Creates the file. Throws InputError when it exists or cannot be created.
  explicit MetricsWriter(const std::filesystem::path& path) : file_(path) {}

  /// {"kind":"step", …} and {"kind":"epoch", …}. Each line is handed to the system at once, whole: what is there after
  /// a crash can be read. Throws Error when the file cannot be written.
  void step(const Report& report) { write("step", report); }
  void epoch(const Report& report) { write("epoch", report); }

 private:
  void write(const char* kind, const Report& report);

  AppendFile file_;
};

}  // namespace lockstep
