#include "launch/data/byte_images.h"

#include "core/error.h"
#include "launch/files/sha256.h"

namespace lockstep {

void check_read(const Dataset& dataset, int64_t index, std::span<float> image) {
  if (index < 0 || index >= dataset.size()) throw Error("sample {} of a data set of {}", index, dataset.size());
  if (static_cast<int64_t>(image.size()) != dataset.image_shape().elements())
    throw Error("an image of {} was to be read into {} floats", dataset.image_shape().str(), image.size());
}

ByteImages::ByteImages(Contents contents)
    : contents_(std::move(contents)), image_bytes_(static_cast<size_t>(contents_.image_shape.elements())) {
  if (contents_.pixels.size() != contents_.labels.size() * image_bytes_)
    throw Error("{} labels and {} bytes of images of {}", contents_.labels.size(), contents_.pixels.size(),
                contents_.image_shape.str());
  for (size_t i = 0; i < grey_.size(); ++i) grey_[i] = static_cast<float>(i) / static_cast<float>(contents_.white);
}

int32_t ByteImages::read(int64_t index, std::span<float> image) const {
  check_read(*this, index, image);
  const uint8_t* pixels = contents_.pixels.data() + static_cast<size_t>(index) * image_bytes_;
  for (size_t i = 0; i < image_bytes_; ++i) image[i] = grey_[pixels[i]];
  return contents_.labels[static_cast<size_t>(index)];
}

std::string ByteImages::content_sha256() const {
  Sha256 hash;
  hash.update(
      fmt::format("bytes {} {} {} {}\n", size(), contents_.image_shape.str(), contents_.classes, contents_.white));
  hash.update(std::as_bytes(std::span(contents_.pixels)));
  hash.update(std::as_bytes(std::span(contents_.labels)));
  return hash.hex();
}

}  // namespace lockstep
