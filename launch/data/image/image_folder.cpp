#include "launch/data/image/image_folder.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include "core/log.h"
#include "launch/data/crew.h"
#include "launch/files/gzip.h"
#include "launch/files/sha256.h"

namespace lockstep {

namespace {

namespace fs = std::filesystem;

struct Entry {
  std::string name;  // class/file
  int32_t label = 0;
  ImageSize size = {};
};

class FolderSource final : public ImageSource {
 public:
  FolderSource(fs::path root, std::vector<Entry> entries) : root_(std::move(root)), entries_(std::move(entries)) {}
  int64_t size() const override { return static_cast<int64_t>(entries_.size()); }
  std::span<const uint8_t> bytes(int64_t index, std::vector<uint8_t>& buffer) const override {
    return buffer = read_file(root_ / at(index).name);
  }
  std::string name(int64_t index) const override { return (root_ / at(index).name).string(); }
  int32_t label(int64_t index) const override { return at(index).label; }
  uint64_t key(int64_t index) const override {
    const std::string hash = sha256(at(index).name);
    return std::stoull(hash.substr(0, 16), nullptr, 16);
  }

 private:
  const Entry& at(int64_t index) const { return entries_[static_cast<size_t>(index)]; }
  fs::path root_;
  std::vector<Entry> entries_;
};

/// What lies in a folder, in the byte order of the names, which no locale changes.
std::vector<fs::directory_entry> listed(const fs::path& folder) {
  std::vector<fs::directory_entry> entries;
  std::error_code error;
  for (fs::directory_iterator i(folder, error), end; !error && i != end; i.increment(error))
    if (!i->path().filename().string().starts_with('.')) entries.push_back(*i);
  if (error) throw InputError("cannot read the folder '{}': {}", folder.string(), error.message());
  std::ranges::sort(entries, {}, [](const fs::directory_entry& entry) { return entry.path().filename().string(); });
  return entries;
}

std::vector<std::string> class_folders(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : listed(folder))
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  return names;
}

bool is_image_name(const fs::path& path) {
  std::string extension = path.extension().string();
  std::ranges::transform(extension, extension.begin(), [](unsigned char c) { return std::tolower(c); });
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

/// The header is in the first part of nearly all JPEGs, and of small PNGs; else the whole is read.
ImageSize header_of(const fs::path& path) {
  constexpr size_t part = size_t{1} << 16;
  const auto begin = read_file(path, part);
  try {
    return image_size(begin, path.string());
  } catch (const CorruptImage&) {
    if (begin.size() < part) throw;
  }
  return image_size(read_file(path), path.string());
}

/// Looks at each file's header, and takes out those that are no images; returns what was wrong with them.
std::vector<std::string> scan(const fs::path& root, std::vector<Entry>& entries, const ImageReading& reading) {
  std::vector<std::string> wrong(entries.size());
  Crew(reading.workers).each(static_cast<int64_t>(entries.size()), [&](int64_t part, int) {
    const auto i = static_cast<size_t>(part);
    try {
      entries[i].size = header_of(root / entries[i].name);
    } catch (const CorruptImage& error) {
      if (reading.on_corrupt == OnCorrupt::stop)
        throw InputError("{}; --on-corrupt skip skips such files", error.what());
      wrong[i] = error.what();
    }
  });
  std::vector<std::string> left_out;
  size_t kept = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (wrong[i].empty()) {
      entries[kept++] = entries[i];
    } else {
      log().warn("{}; it is skipped", wrong[i]);
      left_out.push_back(wrong[i]);
    }
  }
  entries.resize(kept);
  return left_out;
}

std::vector<Entry> find_images(const fs::path& root, const std::vector<std::string>& classes) {
  std::vector<Entry> entries;
  for (const auto& folder : class_folders(root)) {
    const auto label = std::ranges::find(classes, folder);
    if (label == classes.end())
      throw InputError("'{}': the class '{}' is none of the training set's", root.string(), folder);
    for (const auto& file : listed(root / folder)) {
      if (!file.is_regular_file() || !is_image_name(file.path())) {
        log().warn("'{}' is no .jpg, .jpeg or .png file; it is skipped", file.path().string());
        continue;
      }
      entries.push_back(
          {folder + "/" + file.path().filename().string(), static_cast<int32_t>(label - classes.begin())});
    }
  }
  if (entries.empty())
    throw InputError("'{}' holds no images, expected folders of .jpg, .jpeg or .png files, one a class", root.string());
  return entries;
}

/// The first whose size is another.
const Entry* odd_one_out(const std::vector<Entry>& entries, std::array<int64_t, 2> size) {
  for (const Entry& entry : entries)
    if (entry.size.height != size[0] || entry.size.width != size[1]) return &entry;
  return nullptr;
}

std::shared_ptr<const Dataset> open_set(const fs::path& root, const std::vector<std::string>& classes,
                                        ImageReading& reading, bool own_size) {
  std::vector<Entry> entries = find_images(root, classes);
  std::vector<std::string> left_out = scan(root, entries, reading);
  if (entries.empty()) throw InputError("'{}': all files are corrupt", root.string());
  if (reading.fit.height == 0) reading.fit = {entries[0].size.height, entries[0].size.width, 0, Fit::How::middle};
  const Entry* odd = odd_one_out(entries, {entries[0].size.height, entries[0].size.width});
  if (!odd && own_size) odd = odd_one_out(entries, {reading.fit.height, reading.fit.width});
  if (odd && own_size && !reading.keep_files)
    throw InputError("'{}' is {}x{}, other images are {}x{}: expected --resize SIZE, which brings all to one size",
                     (root / odd->name).string(), odd->size.height, odd->size.width, reading.fit.height,
                     reading.fit.width);
  const auto set =
      std::make_shared<const EncodedImages>(std::make_shared<FolderSource>(root, std::move(entries)),
                                            static_cast<int>(classes.size()), reading, !odd, std::move(left_out));
  return reading.skips() ? set->without_corrupt() : set;
}

/// The validation images beside DIRECTORY/train, by any of their usual names; none: an empty path. Warns of folders
/// that are none of the sets.
fs::path validation_folder(const fs::path& directory) {
  fs::path found;
  for (const std::string& name : class_folders(directory)) {
    if (name == "train" || name == "test") continue;
    if (name != "val" && name != "valid" && name != "validation") {
      log().warn("'{}' is not read: beside train, expected val (or valid, or validation) and test",
                 (directory / name).string());
      continue;
    }
    if (!found.empty())
      throw InputError("'{}' has '{}' and '{}', expected one folder of validation images", directory.string(),
                       found.filename().string(), name);
    found = directory / name;
  }
  return found;
}

}  // namespace

Data open_image_folder(const fs::path& directory, ImageReading reading) {
  if (std::error_code error; !fs::is_directory(directory, error))
    throw InputError("'{}' is not a directory{}, expected one with a folder of images a class", directory.string(),
                     error ? " (" + error.message() + ")" : "");
  const bool own_size = reading.fit.height == 0;
  const bool divided = fs::is_directory(directory / "train");
  const fs::path root = divided ? directory / "train" : directory;
  Data data{"images:" + directory.string(), nullptr, nullptr};
  data.class_names = class_folders(root);
  data.train = open_set(root, data.class_names, reading, own_size);
  if (!divided) return data;
  if (const fs::path validation = validation_folder(directory); !validation.empty())
    data.validation = open_set(validation, data.class_names, reading, own_size);
  if (fs::is_directory(directory / "test"))
    data.test = open_set(directory / "test", data.class_names, reading, own_size);
  return data;
}

}  // namespace lockstep
