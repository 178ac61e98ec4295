#include "launch/callbacks/event_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>

namespace lockstep {

namespace {

constexpr auto crc_table = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78U : 0U);
    table[byte] = crc;
  }
  return table;
}();

/// TFRecord's checksums are masked, so that a checksum over a record does not meet its own.
uint32_t masked_crc(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return (crc >> 15 | crc << 17) + 0xA282EAD8U;
}

/// x86 and all that CUDA runs on hold numbers as these formats do: the least byte first.
template <class T>
void put_bytes(std::string& to, T value) {
  std::array<char, sizeof(T)> bytes{};
  std::memcpy(bytes.data(), &value, sizeof value);
  to.append(bytes.data(), bytes.size());
}

/// How a protobuf field lies in a message: protobuf.dev/programming-guides/encoding.
enum class Wire : uint32_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

void put_varint(std::string& to, uint64_t value) {
  for (; value >= 0x80; value >>= 7) to += static_cast<char>(value | 0x80);
  to += static_cast<char>(value);
}

void put_tag(std::string& to, uint32_t field, Wire wire) { put_varint(to, field << 3 | static_cast<uint32_t>(wire)); }

void put(std::string& to, uint32_t field, double value) {
  put_tag(to, field, Wire::fixed64);
  put_bytes(to, value);
}

void put(std::string& to, uint32_t field, float value) {
  put_tag(to, field, Wire::fixed32);
  put_bytes(to, value);
}

void put(std::string& to, uint32_t field, int64_t value) {
  put_tag(to, field, Wire::varint);
  put_varint(to, static_cast<uint64_t>(value));
}

void put(std::string& to, uint32_t field, std::string_view bytes) {
  put_tag(to, field, Wire::bytes);
  put_varint(to, bytes.size());
  to += bytes;
}

void put(std::string& to, uint32_t field, const std::vector<double>& packed) {
  std::string bytes;
  for (const double value : packed) put_bytes(bytes, value);
  put(to, field, std::string_view(bytes));
}

/// HistogramProto
std::string encoded(const Histogram& histogram) {
  std::string bytes;
  put(bytes, 1, histogram.min);
  put(bytes, 2, histogram.max);
  put(bytes, 3, histogram.count);
  put(bytes, 4, histogram.sum);
  put(bytes, 5, histogram.sum_of_squares);
  put(bytes, 6, histogram.limits);
  put(bytes, 7, histogram.counts);
  return bytes;
}

// Fields of Event.
constexpr uint32_t wall_time = 1, step_number = 2, file_version = 3, summary = 5;
// Fields of Summary.Value; a Summary has them as its field 1.
constexpr uint32_t tag = 1, simple_value = 2, histo = 5;

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// As TensorFlow's writers name theirs; the count tells apart those of one process and second.
std::filesystem::path new_file(const std::filesystem::path& folder) {
  static std::atomic<int> count{0};
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  std::error_code error;  // what it means for the file is said where that is opened
  std::filesystem::create_directories(folder, error);
  return folder / fmt::format("events.out.tfevents.{:010d}.{}.{}.{}", static_cast<int64_t>(seconds_now()), host.data(),
                              ::getpid(), count++);
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = ~0U;
  for (const char byte : bytes) crc = crc >> 8 ^ crc_table[(crc ^ static_cast<uint8_t>(byte)) & 0xFF];
  return ~crc;
}

Histogram histogram(std::span<const float> values) {
  constexpr size_t buckets = 30;
  Histogram result;
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    const double x = value;
    result.min = result.count > 0 ? std::min(result.min, x) : x;
    result.max = result.count > 0 ? std::max(result.max, x) : x;
    result.count += 1;
    result.sum += x;
    result.sum_of_squares += x * x;
  }
  const double width = (result.max - result.min) / static_cast<double>(buckets);
  const size_t used = width > 0 ? buckets : 1;
  for (size_t i = 1; i < used; ++i) result.limits.push_back(result.min + width * static_cast<double>(i));
  result.limits.push_back(result.max);
  result.counts.assign(used, 0);
  for (const float value : values)
    if (std::isfinite(value))
      result.counts[static_cast<size_t>(std::ranges::lower_bound(result.limits, double{value}) -
                                        result.limits.begin())] += 1;
  return result;
}

EventFile::EventFile(const std::filesystem::path& folder) : file_(new_file(folder)) {
  event(0, file_version, "brain.Event:2");
}

void EventFile::event(int64_t step, uint32_t field, std::string_view contents) {
  std::string message;
  put(message, wall_time, seconds_now());
  if (step != 0) put(message, step_number, step);
  put(message, field, contents);
  std::string record, length;
  put_bytes(length, static_cast<uint64_t>(message.size()));
  record = length;
  put_bytes(record, masked_crc(length));
  record += message;
  put_bytes(record, masked_crc(message));
  file_.write(record);
}

void EventFile::scalars(int64_t step, const Scalars& values) {
  std::string all;
  for (const auto& [name, number] : values) {
    std::string value;
    put(value, tag, std::string_view(name));
    put(value, simple_value, number);
    put(all, 1, std::string_view(value));
  }
  event(step, summary, all);
}

void EventFile::histograms(int64_t step, const std::vector<std::pair<std::string, Histogram>>& values) {
  std::string all;
  for (const auto& [name, one] : values) {
    std::string value;
    put(value, tag, std::string_view(name));
    put(value, histo, std::string_view(encoded(one)));
    put(all, 1, std::string_view(value));
  }
  event(step, summary, all);
}

}  // namespace lockstep
