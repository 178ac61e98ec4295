// metrics.jsonl: one JSON object a line, one for each step and one for each epoch. One thread writes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace lockstep {

/// The shortest decimal that reads back to the same bits, whether it is read as float or as double and then rounded;
/// always with a point or an exponent, so that -0.0 stays itself. JSON has no NaN or infinity: "nan", "inf" and "-inf"
/// come as strings.
std::string json_number(float value);
std::string json_number(double value);

/// What a step or an epoch came to.
struct Measured {
  int64_t epoch = 0;   // counts from 0
  int64_t step = 0;    // counts from 0 over the whole run; of an epoch, its last one
  float loss = 0;      // mean over the samples
  float accuracy = 0;  // 0 to 1
  double images_per_second = 0;
};

class MetricsWriter {
 public:
  /// Creates the file. Throws InputError when it exists or cannot be created.
  explicit MetricsWriter(const std::filesystem::path& path);
  MetricsWriter(const MetricsWriter&) = delete;
  MetricsWriter& operator=(const MetricsWriter&) = delete;
  ~MetricsWriter();

  /// {"kind":"step", …} and {"kind":"epoch", …}. Each line is handed to the system at once, whole: what is there after
  /// a crash can be read. Throws Error when the file cannot be written.
  void step(const Measured& measured) { write("step", measured); }
  void epoch(const Measured& measured) { write("epoch", measured); }

 private:
  void write(const char* kind, const Measured& measured);

  std::string path_;
  int descriptor_;
};

}  // namespace lockstep
