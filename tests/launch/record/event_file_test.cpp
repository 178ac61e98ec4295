// Event files, read back by a reader of the test's own: framing, checksums, and every field of the messages.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>

#include "launch/callbacks/tensorboard.h"
#include "layers/ops.h"
#include "tests/launch/train/fake_training.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

namespace lockstep {
namespace {

template <class T>
T take(std::string_view& bytes) {
  if (bytes.size() < sizeof(T)) throw Error("ends in the middle of a number");
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  bytes.remove_prefix(sizeof value);
  return value;
}

std::string_view take(std::string_view& bytes, uint64_t length) {
  if (bytes.size() < length) throw Error("ends {} bytes too early", length - bytes.size());
  const std::string_view taken = bytes.substr(0, length);
  bytes.remove_prefix(length);
  return taken;
}

/// Bit by bit, as the polynomial's definition has it.
uint32_t slow_crc32c(std::string_view bytes) {
  uint32_t crc = 0xFFFFFFFF;
  for (const char byte : bytes)
    for (int bit = 0; bit < 8; ++bit) {
      const bool one = (crc ^ static_cast<uint32_t>(static_cast<unsigned char>(byte) >> bit)) & 1;
      crc = crc >> 1 ^ (one ? 0x82F63B78U : 0);
    }
  return ~crc;
}

void expect_crc(std::string_view bytes, uint32_t masked) {
  const uint32_t rotated = masked - 0xA282EAD8U;
  if ((rotated << 15 | rotated >> 17) != slow_crc32c(bytes)) throw Error("a checksum is wrong");
}

/// The messages of a file's records.
std::vector<std::string> records(std::string_view file) {
  std::vector<std::string> messages;
  while (!file.empty()) {
    const std::string_view length = take(file, 8);
    expect_crc(length, take<uint32_t>(file));
    std::string_view number = length;
    const std::string_view message = take(file, take<uint64_t>(number));
    expect_crc(message, take<uint32_t>(file));
    messages.emplace_back(message);
  }
  return messages;
}

/// A message's fields by number; numbers as their bytes.
std::multimap<uint64_t, std::string> fields(std::string_view message) {
  const auto varint = [&] {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(message, 1)[0]);
      value |= uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) return value;
    }
  };
  std::multimap<uint64_t, std::string> all;
  while (!message.empty()) {
    const uint64_t tag = varint();
    std::string value;
    if (tag % 8 == 0) {
      const uint64_t number = varint();
      value.assign(reinterpret_cast<const char*>(&number), sizeof number);
    } else if (tag % 8 == 1) {
      value = take(message, 8);
    } else if (tag % 8 == 2) {
      value = take(message, varint());
    } else if (tag % 8 == 5) {
      value = take(message, 4);
    } else {
      throw Error("a field of an unknown kind, {}", tag % 8);
    }
    all.emplace(tag / 8, value);
  }
  return all;
}

template <class T>
T number(const std::multimap<uint64_t, std::string>& message, uint64_t field) {
  const auto found = message.find(field);
  if (found == message.end()) return {};
  std::string_view bytes = found->second;
  const T value = take<T>(bytes);
  if (!bytes.empty()) throw Error("field {} is too long", field);
  return value;
}

std::string text(const std::multimap<uint64_t, std::string>& message, uint64_t field) {
  return message.find(field)->second;
}

std::vector<double> packed(const std::multimap<uint64_t, std::string>& message, uint64_t field) {
  const std::string bytes = text(message, field);
  std::vector<double> values;
  for (std::string_view rest = bytes; !rest.empty();) values.push_back(take<double>(rest));
  return values;
}

std::string read_folder(const std::filesystem::path& folder) {
  std::ostringstream bytes;
  for (const auto& file : std::filesystem::directory_iterator(folder)) bytes << std::ifstream(file.path()).rdbuf();
  return bytes.str();
}

TEST(EventFile, ChecksumsAreCrc32c) {
  EXPECT_EQ(crc32c(""), 0U);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283U) << "the check value of CRC-32C";
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAU) << "RFC 3720, B.4";
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43U) << "RFC 3720, B.4";
}

TEST(EventFile, HoldsWhatWasWritten) {
  const testing::TemporaryFolder folder;
  EventFile file(folder.path());
  file.scalars(0, {{"loss", 0.25F}, {"accuracy", std::numeric_limits<float>::quiet_NaN()}});
  file.scalars(300, {{"loss", -1.5F}});
  file.histograms(7, {{"dense/kernel", histogram(std::vector<float>{1, 2, 3, 4, NAN, INFINITY})}});
  // What is there can be read while the file is open.
  const std::vector<std::string> events = records(read_folder(folder.path()));
  ASSERT_EQ(events.size(), 4U);
  for (const std::string& event : events) EXPECT_GT(number<double>(fields(event), 1), 1.7e9) << "wall time, in seconds";
  EXPECT_EQ(text(fields(events[0]), 3), "brain.Event:2");
  const auto first = fields(text(fields(events[1]), 5));
  ASSERT_EQ(first.count(1), 2U);
  const auto loss = fields(first.begin()->second), accuracy = fields(std::next(first.begin())->second);
  EXPECT_EQ(text(loss, 1), "loss");
  EXPECT_EQ(number<float>(loss, 2), 0.25F);
  EXPECT_EQ(text(accuracy, 1), "accuracy");
  EXPECT_TRUE(std::isnan(number<float>(accuracy, 2)));
  EXPECT_EQ(number<int64_t>(fields(events[2]), 2), 300);
  EXPECT_EQ(number<float>(fields(text(fields(text(fields(events[2]), 5)), 1)), 2), -1.5F);
  const auto value = fields(text(fields(text(fields(events[3]), 5)), 1));
  EXPECT_EQ(number<int64_t>(fields(events[3]), 2), 7);
  EXPECT_EQ(text(value, 1), "dense/kernel");
  const auto histo = fields(text(value, 5));
  EXPECT_EQ(number<double>(histo, 1), 1);
  EXPECT_EQ(number<double>(histo, 2), 4);
  EXPECT_EQ(number<double>(histo, 3), 4);
  EXPECT_EQ(number<double>(histo, 4), 10);
  EXPECT_EQ(number<double>(histo, 5), 30);
  const auto limits = packed(histo, 6), counts = packed(histo, 7);
  ASSERT_EQ(limits.size(), 30U);
  ASSERT_EQ(counts.size(), 30U);
  EXPECT_EQ(limits.back(), 4);
  EXPECT_EQ(counts.front(), 1);
  EXPECT_EQ(counts.back(), 1);
}

TEST(EventFile, AFlippedBitIsFound) {
  const testing::TemporaryFolder folder;
  EventFile(folder.path()).scalars(1, {{"loss", 0.25F}});
  const std::string bytes = read_folder(folder.path());
  EXPECT_NO_THROW(records(bytes));
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string broken = bytes;
    broken[i] = static_cast<char>(broken[i] ^ 0x10);
    EXPECT_THROW(records(broken), Error) << "byte " << i;
  }
  EXPECT_THROW(records(std::string_view(bytes).substr(0, bytes.size() - 1)), Error);
}

TEST(Histogram, CountsEveryValueOnce) {
  std::vector<float> values;
  for (int i = 0; i < 1000; ++i) values.push_back(std::sin(static_cast<float>(i)) * 3 - 1);
  const Histogram h = histogram(values);
  double count = 0;
  for (size_t i = 0; i < h.limits.size(); ++i) {
    const auto in_bucket =
        std::ranges::count_if(values, [&](float x) { return x <= h.limits[i] && (i == 0 || x > h.limits[i - 1]); });
    EXPECT_EQ(h.counts[i], static_cast<double>(in_bucket)) << "bucket " << i;
    count += h.counts[i];
  }
  EXPECT_EQ(count, 1000);
  EXPECT_EQ(histogram(std::vector<float>(5, 2.5F)).counts, std::vector<double>{5}) << "all alike";
  EXPECT_EQ(histogram({}).counts, std::vector<double>{0});
}

TEST(TensorBoard, WritesStepsEpochsAndHistograms) {
  const testing::TemporaryFolder folder;
  const Network network("n", Dense(2, {.activation = Activation::softmax})(Input({3})));
  testing::FakeTraining training(network, true);
  TensorBoard board(folder.path() / "made" / "here", {.update_freq = 2, .histogram_freq = 3});
  training.fit(board, {1, 2, 3});
  std::map<std::string, int> seen;
  for (const std::string& event : records(read_folder(folder.path() / "made" / "here"))) {
    const auto all = fields(event);
    if (all.count(5) == 0) continue;
    for (const auto& [field, value] : fields(text(all, 5))) ++seen[text(fields(value), 1)];
  }
  EXPECT_EQ(seen, (std::map<std::string, int>{{"loss", 1},
                                              {"accuracy", 1},
                                              {"lr", 1},
                                              {"images_per_second", 1},
                                              {"epoch_loss", 3},
                                              {"epoch_accuracy", 3},
                                              {"epoch_lr", 3},
                                              {"epoch_images_per_second", 3},
                                              {"val_loss", 3},
                                              {"val_accuracy", 3},
                                              {"epochs", 1}}));
  EXPECT_TRUE(test::says(test::error_of([&] { TensorBoard("x", {.update_freq = -1}); }), {"update_freq is -1"}));
  TensorBoard nowhere("/proc/none");
  EXPECT_TRUE(test::says(test::error_of([&] { training.fit(nowhere, {1}); }), {"/proc/none", "cannot create"}));
}

}  // namespace
}  // namespace lockstep
