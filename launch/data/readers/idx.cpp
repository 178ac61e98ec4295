#include "launch/data/readers/idx.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"
#include "launch/data/byte_images.h"
#include "launch/files/gzip.h"

namespace lockstep {

namespace {

namespace fs = std::filesystem;

constexpr int classes = 10;
constexpr uint32_t images_magic = 0x00000803;  // unsigned bytes, three dimensions
constexpr uint32_t labels_magic = 0x00000801;  // unsigned bytes, one dimension
constexpr uint32_t max_side = 65535;

/// With how to call a place in it.
struct Idx : IdxFile {
  std::string at(size_t offset) const {
    return fmt::format("{}: byte {}{}", file, offset, packed ? " of the unpacked data" : "");
  }
  uint32_t big_endian(size_t offset, std::string_view what) const {
    if (bytes.size() < offset + 4)
      throw InputError("{}: the file ends within {} (expected 4 bytes at byte {})", at(bytes.size()), what, offset);
    return uint32_t{bytes[offset]} << 24 | uint32_t{bytes[offset + 1]} << 16 | uint32_t{bytes[offset + 2]} << 8 |
           uint32_t{bytes[offset + 3]};
  }
  void check_magic(uint32_t expected, std::string_view what) const {
    const uint32_t given = big_endian(0, "the magic number");
    if (given != expected)
      throw InputError("{}: magic number {:#010x}, expected {:#010x} ({})", at(0), given, expected, what);
  }
  void check_size(uint64_t expected, const std::string& because) const {
    if (bytes.size() < expected)
      throw InputError("{}: the file ends, expected {} bytes in all ({})", at(bytes.size()), expected, because);
    if (bytes.size() > expected)
      throw InputError("{}: the file goes on for {} more, expected {} bytes in all ({})", at(expected),
                       bytes.size() - expected, expected, because);
  }
};

/// Finds "train-images-idx3-ubyte" and the like in one of its spellings.
IdxFile open(const fs::path& directory, const std::string& set, const std::string& kind) {
  const std::vector<std::string> names{set + "-" + kind + "-ubyte", set + "-" + kind + "-ubyte.gz"};
  std::vector<std::string> spellings = names;
  for (std::string name : names) {
    name[name.rfind("-idx")] = '.';
    spellings.push_back(std::move(name));
  }
  for (const auto& name : spellings) {
    const fs::path path = directory / name;
    if (std::error_code error; !fs::exists(path, error)) continue;
    IdxFile idx{path.string(), path.extension() == ".gz", read_file(path)};
    if (idx.packed) idx.bytes = gunzip(idx.bytes, idx.file);
    return idx;
  }
  throw InputError("'{}' holds none of {}", directory.string(), fmt::join(spellings, ", "));
}

}  // namespace

std::shared_ptr<const Dataset> parse_idx(IdxFile image_file, IdxFile label_file) {
  Idx images{std::move(image_file)}, labels{std::move(label_file)};
  images.check_magic(images_magic, "IDX images");
  const uint64_t count = images.big_endian(4, "the number of images");
  const uint64_t height = images.big_endian(8, "the image height");
  const uint64_t width = images.big_endian(12, "the image width");
  if (count == 0) throw InputError("{}: 0 images, expected at least 1", images.at(4));
  for (const auto& [offset, side] : {std::pair<size_t, uint64_t>{8, height}, {12, width}})
    if (side < 1 || side > max_side)
      throw InputError("{}: an image side of {}, expected 1 to {}", images.at(offset), side, max_side);
  images.check_size(16 + count * height * width, fmt::format("16 + {} images of {}x{}", count, height, width));

  labels.check_magic(labels_magic, "IDX labels");
  const uint64_t label_count = labels.big_endian(4, "the number of labels");
  if (label_count != count)
    throw InputError("{}: {} labels, but {} holds {} images", labels.at(4), label_count, images.file, count);
  labels.check_size(8 + count, fmt::format("8 + {} labels", count));
  labels.bytes.erase(labels.bytes.begin(), labels.bytes.begin() + 8);
  const auto wrong = std::find_if(labels.bytes.begin(), labels.bytes.end(), [](uint8_t x) { return x >= classes; });
  if (wrong != labels.bytes.end())
    throw InputError("{}: label {}, expected 0 to {}", labels.at(8 + static_cast<size_t>(wrong - labels.bytes.begin())),
                     *wrong, classes - 1);

  images.bytes.erase(images.bytes.begin(), images.bytes.begin() + 16);
  return std::make_shared<ByteImages>(
      ByteImages::Contents{.image_shape = {static_cast<int64_t>(height), static_cast<int64_t>(width), 1},
                           .classes = classes,
                           .pixels = std::move(images.bytes),
                           .labels = std::move(labels.bytes)});
}

Data open_idx(const fs::path& directory) {
  if (std::error_code error; !fs::is_directory(directory, error))
    throw InputError("'{}' is not a directory{}, expected one with train-images-idx3-ubyte[.gz] and so on",
                     directory.string(), error ? " (" + error.message() + ")" : "");
  const auto open_set = [&](const std::string& set) {
    return parse_idx(open(directory, set, "images-idx3"), open(directory, set, "labels-idx1"));
  };
  Data data{"idx:" + directory.string(), open_set("train"), open_set("t10k")};
  if (data.test->image_shape() != data.train->image_shape())
    throw InputError("'{}': training images are {}, test images {}", directory.string(),
                     data.train->image_shape().str(), data.test->image_shape().str());
  return data;
}

}  // namespace lockstep
