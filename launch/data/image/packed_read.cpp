#include <zlib.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "launch/data/byte_images.h"
#include "launch/data/image/packed.h"
#include "launch/data/image/preparation.h"
#include "launch/files/mapped_file.h"
#include "launch/files/sha256.h"

namespace lockstep {

namespace {

/// The parts of a packed file, once they are known to fit.
class Pack {
 public:
  Pack(std::span<const uint8_t> bytes, std::string name, std::shared_ptr<const void> owner)
      : bytes_(bytes), name_(std::move(name)), owner_(std::move(owner)) {
    constexpr std::string_view magic("LSTPACK\1", 8);
    if (bytes_.size() < sizeof(PackedHeader) || std::memcmp(bytes_.data(), magic.data(), magic.size()) != 0)
      throw InputError("{}: byte 0: no packed file ({} bytes), expected one that lockstep pack wrote", name_,
                       bytes_.size());
    PackedHeader header;
    std::memcpy(&header, bytes_.data(), sizeof header);
    const uint64_t room = bytes_.size() - sizeof header;
    if (header.records > room / sizeof(PackedEntry) || header.text_bytes > room - header.records * sizeof(PackedEntry))
      throw InputError("{}: byte {}: the file ends within its index of {} records", name_, bytes_.size(),
                       header.records);
    const auto index = bytes_.subspan(sizeof header, header.records * sizeof(PackedEntry));
    const auto text = bytes_.subspan(sizeof header + index.size(), header.text_bytes);
    if (crc32_z(crc32_z(0, index.data(), index.size()), text.data(), text.size()) != header.checksum)
      throw InputError("{}: byte {}: the index does not match its checksum", name_, sizeof header);
    entries_.resize(header.records);
    if (!index.empty()) std::memcpy(entries_.data(), index.data(), index.size());
    for (size_t i = 0; i < entries_.size(); ++i) {
      const PackedEntry& entry = entries_[i];
      if (entry.offset > bytes_.size() || entry.size > bytes_.size() - entry.offset)
        throw InputError("{}: byte {}: the file ends within record {}, expected {} bytes from byte {}", name_,
                         bytes_.size(), i, entry.size, entry.offset);
    }
    if (bytes_.size() != header.file_bytes)
      throw InputError("{}: {} bytes, expected {}", name_, bytes_.size(), header.file_bytes);
    text_ = {reinterpret_cast<const char*>(text.data()), text.size()};
    verified_ = std::vector<std::atomic<bool>>(entries_.size());
  }

  const std::string& name() const { return name_; }
  std::string_view text() const { return text_; }
  int64_t records() const { return static_cast<int64_t>(entries_.size()); }
  const PackedEntry& entry(int64_t record) const { return entries_[static_cast<size_t>(record)]; }
  std::string where(int64_t record) const {
    return fmt::format("{}: record {} at byte {}", name_, record, entry(record).offset);
  }
  std::span<const uint8_t> bytes(int64_t record) const {
    const PackedEntry& e = entry(record);
    const auto found = bytes_.subspan(e.offset, e.size);
    std::atomic<bool>& verified = verified_[static_cast<size_t>(record)];
    if (!verified.load(std::memory_order_relaxed)) {
      if (crc32_z(0, found.data(), found.size()) != e.checksum)
        throw InputError("{}: its {} bytes do not match their checksum", where(record), e.size);
      verified.store(true, std::memory_order_relaxed);
    }
    return found;
  }

 private:
  std::span<const uint8_t> bytes_;
  std::string name_;
  std::shared_ptr<const void> owner_;
  std::vector<PackedEntry> entries_;
  std::string_view text_;
  mutable std::vector<std::atomic<bool>> verified_;
};

/// Consecutive records that are one set.
struct Range {
  std::shared_ptr<const Pack> pack;
  int64_t first = 0, count = 0;
};

class PackedFiles final : public ImageSource {
 public:
  explicit PackedFiles(Range range) : range_(std::move(range)) {}
  int64_t size() const override { return range_.count; }
  std::span<const uint8_t> bytes(int64_t index, std::vector<uint8_t>&) const override {
    return range_.pack->bytes(range_.first + index);
  }
  std::string name(int64_t index) const override { return range_.pack->where(range_.first + index); }
  int32_t label(int64_t index) const override { return range_.pack->entry(range_.first + index).label; }
  uint64_t key(int64_t index) const override { return range_.pack->entry(range_.first + index).key; }

 private:
  Range range_;
};

class PackedImages final : public FittedImages {
 public:
  /// `values` is their range; none: to be measured.
  PackedImages(Range range, const Shape& shape, int classes, std::string hash, std::optional<ValueRange> values,
               std::vector<Fit> fits)
      : range_(std::move(range)),
        shape_(shape),
        classes_(classes),
        hash_(std::move(hash)),
        values_(values),
        fits_(std::move(fits)) {}
  int64_t size() const override { return range_.count; }
  Shape image_shape() const override { return shape_; }
  int classes() const override { return classes_; }
  uint64_t key(int64_t index) const override { return range_.pack->entry(range_.first + index).key; }
  std::string content_sha256() const override { return hash_; }
  int32_t label(int64_t index) const override { return range_.pack->entry(range_.first + index).label; }
  ValueRange range() const override {
    std::call_once(measured_, [this] {
      if (!values_) values_ = has_floats() ? measured_range(*this) : ValueRange{};
    });
    return *values_;
  }
  std::vector<Fit> fits() const override { return fits_; }
  int32_t read(int64_t index, std::span<float> image) const override {
    check_read(*this, index, image);
    const PackedEntry& entry = range_.pack->entry(range_.first + index);
    const std::span<const uint8_t> bytes = range_.pack->bytes(range_.first + index);
    if (entry.as == PackedAs::bytes)
      for (size_t i = 0; i < image.size(); ++i) image[i] = static_cast<float>(bytes[i]) / 255.0F;
    else
      std::memcpy(image.data(), bytes.data(), bytes.size());
    return entry.label;
  }

 private:
  bool has_floats() const {
    for (int64_t i = range_.first; i < range_.first + range_.count; ++i)
      if (range_.pack->entry(i).as == PackedAs::floats) return true;
    return false;
  }

  Range range_;
  Shape shape_;
  int classes_;
  std::string hash_;
  mutable std::once_flag measured_;
  mutable std::optional<ValueRange> values_;
  std::vector<Fit> fits_;
};

/// Whether all records are image files, or all are images of this shape.
bool are_files(const Range& range, const Shape& shape, int classes) {
  const bool files = range.pack->entry(range.first).as == PackedAs::file;
  const auto pixels = static_cast<uint64_t>(shape.elements());
  for (int64_t i = range.first; i < range.first + range.count; ++i) {
    const PackedEntry& entry = range.pack->entry(i);
    const bool fits = files                          ? entry.as == PackedAs::file
                      : entry.as == PackedAs::bytes  ? entry.size == pixels
                      : entry.as == PackedAs::floats ? entry.size == pixels * sizeof(float)
                                                     : false;
    if (!fits || entry.label < 0 || entry.label >= classes)
      throw InputError("{}: kind {}, {} bytes, label {}: does not fit images of {} in {} classes", range.pack->where(i),
                       static_cast<int>(entry.as), entry.size, entry.label, shape.str(), classes);
  }
  return files;
}

std::shared_ptr<const Dataset> make_set(const Range& range, const nlohmann::ordered_json& text,
                                        const nlohmann::ordered_json& set, ImageReading reading) {
  const auto side = [&](const char* name) {
    const auto value = text.at(name).get<int64_t>();
    if (value < 1 || value > 65535)
      throw InputError("{}: {} is {}, expected 1 to 65535", range.pack->name(), name, value);
    return value;
  };
  const Shape shape{side("height"), side("width"), side("channels")};
  const int classes = text.at("classes").get<int>();
  if (!are_files(range, shape, classes)) {
    std::optional<ValueRange> values;  // files of earlier versions do not have it
    if (set.contains("range")) values = {set.at("range").at(0).get<float>(), set.at("range").at(1).get<float>()};
    std::vector<Fit> fits;
    // Files that an earlier version wrote do not say.
    if (text.contains("preparation")) {
      const Preparation preparation = preparation_from_json(text["preparation"], range.pack->name() + ": preparation");
      if (Shape{preparation.height, preparation.width, preparation.channels} != shape)
        throw InputError("{}: images of {} were prepared as {}x{}x{}", range.pack->name(), shape.str(),
                         preparation.height, preparation.width, preparation.channels);
      fits = preparation.fits;
    }
    return std::make_shared<PackedImages>(range, shape, classes, set.at("sha256").get<std::string>(), values, fits);
  }
  const bool one_size = text.at("one_size").get<bool>();
  if (reading.fit.height == 0) {
    if (!one_size && !reading.keep_files)
      throw InputError("{}: its images are of several sizes: expected --resize SIZE, which brings all to one size",
                       range.pack->name());
    reading.fit = {shape[0], shape[1], 0, Fit::How::middle};
  }
  const auto files =
      std::make_shared<const EncodedImages>(std::make_shared<PackedFiles>(range), classes, reading, one_size);
  return reading.skips() ? files->without_corrupt() : files;
}

}  // namespace

Data parse_packed(std::span<const uint8_t> bytes, const std::string& name, const ImageReading& reading,
                  std::shared_ptr<const void> owner) {
  const auto pack = std::make_shared<const Pack>(bytes, name, std::move(owner));
  Data data{"packed:" + name, nullptr, nullptr};
  try {
    const auto text = nlohmann::ordered_json::parse(pack->text());
    data.class_names = text.at("class_names").get<std::vector<std::string>>();
    int64_t first = 0;
    for (const auto& set : text.at("sets")) {
      const auto count = set.at("records").get<int64_t>();
      const auto what = set.at("name").get<std::string>();
      if (count < 1 || count > pack->records() - first)
        throw InputError("{}: the set '{}' has {} records of {}", name, what, count, pack->records() - first);
      auto& to = what == "train" ? data.train : what == "test" ? data.test : data.validation;
      to = make_set({pack, first, count}, text, set, reading);
      first += count;
    }
  } catch (const nlohmann::json::exception& error) {
    throw InputError("{}: its description cannot be read: {}", name, error.what());
  }
  if (!data.train) throw InputError("{}: no training set", name);
  return data;
}

Data open_packed(const std::filesystem::path& file, const ImageReading& reading) {
  const auto mapped = std::make_shared<const MappedFile>(file);
  return parse_packed(mapped->bytes(), file.string(), reading, mapped);
}

}  // namespace lockstep
