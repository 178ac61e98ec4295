#include "launch/data/image/image_files.h"

#include "launch/files/gzip.h"

namespace lockstep {

namespace {

class Files final : public ImageSource {
 public:
  explicit Files(std::vector<std::string> paths) : paths_(std::move(paths)) {}

  int64_t size() const override { return static_cast<int64_t>(paths_.size()); }
  std::span<const uint8_t> bytes(int64_t index, std::vector<uint8_t>& buffer) const override {
    buffer = read_file(name(index));
    return buffer;
  }
  std::string name(int64_t index) const override { return paths_[static_cast<size_t>(index)]; }
  int32_t label(int64_t) const override { return 0; }
  uint64_t key(int64_t index) const override { return static_cast<uint64_t>(index); }

 private:
  std::vector<std::string> paths_;
};

}  // namespace

std::shared_ptr<const Dataset> open_image_files(const std::vector<std::string>& paths, int classes,
                                                const ImageReading& reading) {
  const auto files = std::make_shared<const Files>(paths);
  const auto set = std::make_shared<const EncodedImages>(files, classes, reading, false);
  if (reading.skips()) return set->without_corrupt();
  std::vector<uint8_t> buffer;
  for (int64_t i = 0; i < files->size(); ++i) image_size(files->bytes(i, buffer), files->name(i));
  return set;
}

}  // namespace lockstep
