#include "launch/data/readers/cifar.h"

#include <fmt/ranges.h>

#include <fstream>

#include "core/error.h"
#include "launch/data/crew.h"
#include "launch/files/gzip.h"
#include "launch/files/xz.h"

namespace lockstep {

namespace {

namespace fs = std::filesystem;

constexpr size_t side = 32, channels = 3, plane = side * side;

ByteImages::Contents read_batch(const fs::path& directory, const std::string& name, const CifarFormat& format) {
  const std::vector<std::string> spellings{name, name + ".gz", name + ".xz"};
  for (const auto& spelling : spellings) {
    const fs::path path = directory / spelling;
    if (std::error_code error; !fs::exists(path, error)) continue;
    std::vector<uint8_t> bytes = read_file(path);
    if (path.extension() == ".gz") bytes = gunzip(bytes, path.string());
    if (path.extension() == ".xz") bytes = unxz(bytes, path.string());
    return parse_cifar(bytes, format, path.string());
  }
  throw InputError("'{}' holds none of {}", directory.string(), fmt::join(spellings, ", "));
}

std::vector<std::string> read_names(const fs::path& file, const CifarFormat& format) {
  std::vector<std::string> names;
  std::ifstream text(file);
  for (std::string line; std::getline(text, line);)
    if (!line.empty()) names.push_back(line);
  if (!names.empty() && names.size() != static_cast<size_t>(format.classes))
    throw InputError("{}: {} class names, expected {}", file.string(), names.size(), format.classes);
  return names;
}

}  // namespace

ByteImages::Contents parse_cifar(std::span<const uint8_t> bytes, const CifarFormat& format, const std::string& file) {
  const size_t record = format.label_bytes + channels * plane;
  if (bytes.empty() || bytes.size() % record != 0)
    throw InputError("{}: byte {}: the file ends within record {}, expected records of {} bytes", file, bytes.size(),
                     bytes.size() / record, record);
  ByteImages::Contents set{
      .image_shape = {side, side, channels}, .classes = format.classes, .pixels = {}, .labels = {}};
  const size_t count = bytes.size() / record;
  set.pixels.resize(count * channels * plane);
  uint8_t* to = set.pixels.data();
  for (size_t i = 0; i < count; ++i) {
    const size_t label_at = i * record + format.label_bytes - 1;
    if (bytes[label_at] >= format.classes)
      throw InputError("{}: byte {}: label {} of record {}, expected 0 to {}", file, label_at, bytes[label_at], i,
                       format.classes - 1);
    set.labels.push_back(bytes[label_at]);
    const uint8_t* red = bytes.data() + label_at + 1;
    for (size_t pixel = 0; pixel < plane; ++pixel)
      for (size_t c = 0; c < channels; ++c) *to++ = red[c * plane + pixel];
  }
  return set;
}

Data open_cifar(const fs::path& directory, const CifarFormat& format, int workers) {
  if (std::error_code error; !fs::is_directory(directory, error))
    throw InputError("'{}' is not a directory{}, expected one with CIFAR's .bin files", directory.string(),
                     error ? " (" + error.message() + ")" : "");
  const bool ten = format.classes == cifar10.classes;
  std::vector<std::string> files{ten ? "test_batch.bin" : "test.bin"};
  if (ten)
    for (int i = 1; i <= 5; ++i) files.push_back(fmt::format("data_batch_{}.bin", i));
  else
    files.emplace_back("train.bin");
  std::vector<ByteImages::Contents> batches(files.size());
  Crew(workers).each(static_cast<int64_t>(files.size()), [&](int64_t i, int) {
    batches[static_cast<size_t>(i)] = read_batch(directory, files[static_cast<size_t>(i)], format);
  });
  ByteImages::Contents train = std::move(batches[1]);
  for (size_t i = 2; i < batches.size(); ++i) {
    train.pixels.insert(train.pixels.end(), batches[i].pixels.begin(), batches[i].pixels.end());
    train.labels.insert(train.labels.end(), batches[i].labels.begin(), batches[i].labels.end());
  }
  Data data{fmt::format("cifar{}:{}", format.classes, directory.string()),
            std::make_shared<ByteImages>(std::move(train)), std::make_shared<ByteImages>(std::move(batches[0]))};
  data.class_names = read_names(directory / (ten ? "batches.meta.txt" : "fine_label_names.txt"), format);
  return data;
}

}  // namespace lockstep
