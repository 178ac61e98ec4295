#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/handle.h"
#include "launch/data/crew.h"
#include "launch/data/image/packed.h"
#include "launch/data/image/preparation.h"
#include "launch/files/sha256.h"

namespace lockstep {

namespace {

constexpr uint64_t alignment = 64;

uint64_t aligned(uint64_t offset) { return (offset + alignment - 1) / alignment * alignment; }

/// A file under a temporary name; removed unless it was finished.
class Output {
 public:
  explicit Output(const std::filesystem::path& path) : path_(path), temporary_(path.string() + ".tmp") {
    file_ = Handle<std::FILE*, std::fclose>(std::fopen(temporary_.c_str(), "wb"));
    if (!file_) fail("write");
  }
  ~Output() {
    if (!finished_) std::remove(temporary_.c_str());
  }
  void write(uint64_t at, std::span<const uint8_t> bytes) {
    if (fseeko(file_.get(), static_cast<off_t>(at), SEEK_SET) != 0 ||
        std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size())
      fail("write");
  }
  void finish() {
    if (std::fflush(file_.get()) != 0 || fsync(fileno(file_.get())) != 0) fail("sync");
    if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail("rename");
    finished_ = true;
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw Error("cannot {} '{}': {}", what, temporary_, std::strerror(errno));
  }
  std::filesystem::path path_;
  std::string temporary_;
  Handle<std::FILE*, std::fclose> file_;
  bool finished_ = false;
};

struct Record {
  PackedEntry entry;
  std::vector<uint8_t> bytes;
};

Record pack_image(const Dataset& set, int64_t index) {
  std::vector<float> image(static_cast<size_t>(set.image_shape().elements()));
  Record record;
  record.entry.label = set.read(index, image);
  record.bytes.resize(image.size());
  for (size_t i = 0; i < image.size(); ++i) {
    const float byte = std::round(image[i] * 255.0F);
    if (!(byte >= 0 && byte <= 255) || byte / 255.0F != image[i]) {
      record.entry.as = PackedAs::floats;
      record.bytes.resize(image.size() * sizeof(float));
      std::memcpy(record.bytes.data(), image.data(), record.bytes.size());
      break;
    }
    record.bytes[i] = static_cast<uint8_t>(byte);
  }
  return record;
}

Record pack_file(const ImageSource& source, int64_t index) {
  Record record;
  const auto bytes = source.bytes(index, record.bytes);
  if (bytes.data() != record.bytes.data()) record.bytes.assign(bytes.begin(), bytes.end());
  record.entry.label = source.label(index);
  record.entry.as = PackedAs::file;
  return record;
}

/// Packs records in the order of the samples, whoever reads them.
class Packer {
 public:
  Packer(Output& output, uint64_t begin, int workers) : output_(output), at_(begin), crew_(workers) {}

  /// Returns the set's content hash.
  std::string pack(const Dataset& set, const ImageSource* files) {
    constexpr int64_t together = 64;
    Sha256 hash;
    hash.update(fmt::format("packed 1 {} {}\n", set.image_shape().str(), set.classes()));
    for (int64_t first = 0; first < set.size(); first += together) {
      std::vector<Record> records(static_cast<size_t>(std::min(together, set.size() - first)));
      crew_.each(static_cast<int64_t>(records.size()), [&](int64_t i, int) {
        Record& record = records[static_cast<size_t>(i)];
        record = files ? pack_file(*files, first + i) : pack_image(set, first + i);
        record.entry.key = set.key(first + i);
        record.entry.size = record.bytes.size();
        record.entry.checksum = static_cast<uint32_t>(crc32_z(0, record.bytes.data(), record.bytes.size()));
      });
      for (Record& record : records) {
        record.entry.offset = aligned(at_);
        output_.write(record.entry.offset, record.bytes);
        at_ = record.entry.offset + record.entry.size;
        hash.update(
            fmt::format("{} {} {}\n", record.entry.label, static_cast<int>(record.entry.as), record.entry.size));
        hash.update(std::as_bytes(std::span(record.bytes)));
        entries.push_back(record.entry);
      }
    }
    return hash.hex();
  }
  uint64_t end() const { return at_; }

  std::vector<PackedEntry> entries;

 private:
  Output& output_;
  uint64_t at_;
  Crew crew_;
};

}  // namespace

Packed write_packed(const Data& data, const std::filesystem::path& file, bool keep_files, int workers) {
  const Shape shape = data.train->image_shape();
  nlohmann::ordered_json text{{"height", shape[0]},
                              {"width", shape[1]},
                              {"channels", shape[2]},
                              {"classes", data.train->classes()},
                              {"one_size", true},
                              {"class_names", data.class_names},
                              {"preparation", to_json(Preparation{shape[0], shape[1], shape[2], fits_of(*data.train)})},
                              {"sets", nlohmann::ordered_json::array()}};
  const std::pair<const char*, const Dataset*> sets[] = {
      {"train", data.train.get()}, {"test", data.test.get()}, {"validation", data.validation.get()}};
  uint64_t count = 0;
  for (const auto& [name, set] : sets) {
    if (!set) continue;
    text["sets"].push_back({{"name", name}, {"records", set->size()}, {"sha256", std::string(64, '0')}});
    count += static_cast<uint64_t>(set->size());
    const auto* encoded = dynamic_cast<const EncodedImages*>(set);
    // That of what they were before they were resized: colours change as they would without packing. Values that are
    // not finite have none, and are measured again.
    if (const auto [black, white] = set->range(); std::isfinite(black) && !keep_files)
      text["sets"].back()["range"] = {black, white};
    if (keep_files && !encoded) throw Error("'{}' has no image files to keep", data.name);
    if (keep_files && !encoded->one_size()) text["one_size"] = false;
  }

  Output output(file);
  // The index and the text stand before the records; their sizes are known now, what they say at the end.
  const size_t text_bytes = text.dump().size();
  Packer packer(output, sizeof(PackedHeader) + count * sizeof(PackedEntry) + text_bytes, workers);
  size_t at = 0;
  for (const auto& [name, set] : sets) {
    if (!set) continue;
    const auto* encoded = keep_files ? dynamic_cast<const EncodedImages*>(set) : nullptr;
    text["sets"][at++]["sha256"] = packer.pack(*set, encoded ? &encoded->source() : nullptr);
  }

  const std::string description = text.dump();
  std::vector<uint8_t> front(count * sizeof(PackedEntry) + text_bytes);
  std::memcpy(front.data(), packer.entries.data(), count * sizeof(PackedEntry));
  std::memcpy(front.data() + count * sizeof(PackedEntry), description.data(), text_bytes);
  PackedHeader header{.magic = {'L', 'S', 'T', 'P', 'A', 'C', 'K', 1},
                      .records = count,
                      .text_bytes = text_bytes,
                      .file_bytes = packer.end(),
                      .checksum = static_cast<uint32_t>(crc32_z(0, front.data(), front.size())),
                      .reserved = {}};
  std::vector<uint8_t> head(sizeof header);
  std::memcpy(head.data(), &header, sizeof header);
  output.write(sizeof header, front);
  output.write(0, head);
  output.finish();
  return {static_cast<int64_t>(count), packer.end()};
}

}  // namespace lockstep
