// An event file as TensorBoard reads it: records in TFRecord's framing, each an Event message. The few messages that
// logs need are encoded here: their field numbers are fixed for as long as old logs are to be read, and protobuf's
// compiler and library with TensorFlow's message files would be far more than these lines. One thread writes.
// github.com/tensorflow/tensorboard: compat/proto/event.proto and summary.proto; TFRecord: tensorflow.org/tutorials/
// load_data/tfrecord.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "launch/files/append_file.h"

namespace lockstep {

/// CRC-32C (Castagnoli, polynomial 0x1EDC6F41, reflected: RFC 3720, appendix B.4).
uint32_t crc32c(std::string_view bytes);

using Scalars = std::vector<std::pair<std::string, float>>;

/// How many values lie in (limit[i-1], limit[i]], and what they are on the whole.
struct Histogram {
  double min = 0, max = 0, count = 0, sum = 0, sum_of_squares = 0;
  std::vector<double> limits, counts;
};
/// Of the finite ones among the values, in 30 buckets of equal width.
Histogram histogram(std::span<const float> values);

class EventFile {
 public:
  /// Creates a file in the folder, which is made, under a name that no other has and that sorts by time. Throws
  /// InputError where it cannot be.
  explicit EventFile(const std::filesystem::path& folder);

  /// Each is written at once, whole. Throws Error where the file cannot be written.
  void scalars(int64_t step, const Scalars& values);
  void histograms(int64_t step, const std::vector<std::pair<std::string, Histogram>>& values);

 private:
  void event(int64_t step, uint32_t field, std::string_view contents);

  AppendFile file_;
};

}  // namespace lockstep
