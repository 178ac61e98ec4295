#include "launch/data/image/encoded_images.h"

#include <algorithm>
#include <memory>

#include "core/log.h"
#include "launch/data/byte_images.h"
#include "launch/data/crew.h"
#include "launch/data/image/resample.h"
#include "launch/data/resize.h"
#include "launch/files/sha256.h"

namespace lockstep {

namespace {

/// The most that a JPEG's sides may be divided by with `box` still no smaller than what it becomes.
int reduction(const Crop& box, const Fit& fit) {
  int reduce = 8;
  while (reduce > 1 &&
         (box.height < static_cast<double>(fit.height * reduce) || box.width < static_cast<double>(fit.width * reduce)))
    reduce /= 2;
  return reduce;
}

void to_floats(std::span<const uint8_t> pixels, std::span<float> image) {
  for (size_t i = 0; i < pixels.size(); ++i) image[i] = static_cast<float>(pixels[i]) / 255.0F;
}

/// Some of another source's files.
class SomeOf final : public ImageSource {
 public:
  SomeOf(std::shared_ptr<const ImageSource> inner, std::vector<int64_t> indices)
      : inner_(std::move(inner)), indices_(std::move(indices)) {}
  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  std::span<const uint8_t> bytes(int64_t index, std::vector<uint8_t>& buffer) const override {
    return inner_->bytes(at(index), buffer);
  }
  std::string name(int64_t index) const override { return inner_->name(at(index)); }
  int32_t label(int64_t index) const override { return inner_->label(at(index)); }
  uint64_t key(int64_t index) const override { return inner_->key(at(index)); }

 private:
  int64_t at(int64_t index) const { return indices_[static_cast<size_t>(index)]; }
  std::shared_ptr<const ImageSource> inner_;
  std::vector<int64_t> indices_;
};

}  // namespace

EncodedImages::EncodedImages(std::shared_ptr<const ImageSource> source, int classes, const ImageReading& reading,
                             bool one_size, std::vector<std::string> skipped)
    : source_(std::move(source)),
      classes_(classes),
      reading_(reading),
      cache_(reading.cache ? static_cast<size_t>(source_->size()) : 0),
      one_size_(one_size),
      skipped_(std::move(skipped)),
      hashes_(reading.hash_as_read ? static_cast<size_t>(source_->size()) : 0) {
  if (reading.channels != 1 && reading.channels != 3)
    throw InputError("image files have 3 channels, or 1 of grey; {} were asked for", reading.channels);
}

std::shared_ptr<const EncodedImages> EncodedImages::at_size(int64_t height, int64_t width) const {
  ImageReading reading = reading_;
  reading.fit = {height, width, 0, Fit::How::middle};
  return std::make_shared<EncodedImages>(source_, classes_, reading, one_size_, skipped_);
}

std::shared_ptr<const EncodedImages> EncodedImages::without_corrupt() const {
  std::vector<std::string> wrong(static_cast<size_t>(size()));
  Crew(reading_.workers).each(size(), [&](int64_t i, int) {
    std::vector<uint8_t> buffer;
    try {
      // What is wrong with a JPEG's data is found at any size and in any colours.
      decode_image(source_->bytes(i, buffer), source_->name(i), {.channels = 1, .reduce = [](ImageSize) { return 8; }});
    } catch (const CorruptImage& error) {
      wrong[static_cast<size_t>(i)] = error.what();
    }
  });
  for (const std::string& what : wrong)
    if (!what.empty()) log().warn("{}; it is skipped", what);
  return without(wrong);
}

std::shared_ptr<const EncodedImages> EncodedImages::without(const std::vector<std::string>& wrong) const {
  std::vector<int64_t> kept;
  std::vector<std::string> skipped = skipped_, hashes;
  for (int64_t i = 0; i < size(); ++i) {
    const std::string& what = wrong[static_cast<size_t>(i)];
    if (!what.empty()) {
      skipped.push_back(what);
      continue;
    }
    kept.push_back(i);
    if (!hashes_.empty()) hashes.push_back(hashes_[static_cast<size_t>(i)]);
  }
  if (kept.empty()) throw InputError("none of the {} images can be decoded; the first: {}", size(), wrong[0]);
  const auto some = std::make_shared<EncodedImages>(std::make_shared<SomeOf>(source_, std::move(kept)), classes_,
                                                    reading_, one_size_, std::move(skipped));
  some->hashes_ = std::move(hashes);
  return some;
}

EncodedImages::~EncodedImages() {
  for (const auto& kept : cache_) delete[] kept.load();
}

int32_t EncodedImages::read(int64_t index, std::span<float> image) const {
  check_read(*this, index, image);
  if (reading_.fit.how == Fit::How::stretch) {
    stretch(index, image);
    return source_->label(index);
  }
  std::atomic<uint8_t*>* const kept = cache_.empty() ? nullptr : &cache_[static_cast<size_t>(index)];
  if (const uint8_t* pixels = kept ? kept->load(std::memory_order_acquire) : nullptr) {
    to_floats({pixels, image.size()}, image);
    return source_->label(index);
  }
  std::unique_ptr<uint8_t[]> pixels(new uint8_t[image.size()]);
  const auto taken = [this](int64_t height, int64_t width) { return reading_.fit.part(height, width); };
  decode(index, taken, {pixels.get(), image.size()});
  to_floats({pixels.get(), image.size()}, image);
  uint8_t* none = nullptr;
  if (kept && kept->compare_exchange_strong(none, pixels.get(), std::memory_order_release))
    static_cast<void>(pixels.release());
  return source_->label(index);
}

int32_t EncodedImages::read_crop(int64_t index, const ChooseCrop& choose, std::span<float> image) const {
  check_read(*this, index, image);
  std::vector<uint8_t> pixels(image.size());
  decode(index, choose, pixels);
  to_floats(pixels, image);
  return source_->label(index);
}

void EncodedImages::decode(int64_t index, const ChooseCrop& choose, std::span<uint8_t> pixels) const {
  std::vector<uint8_t> buffer;
  const std::span<const uint8_t> file = source_->bytes(index, buffer);
  if (reading_.hash_as_read) note_hash(index, file);
  const std::string name = source_->name(index);
  Crop box;
  const auto reduce = [&](ImageSize size) {
    box = choose(size.height, size.width);
    return reduction(box, reading_.fit);
  };
  const Image decoded = decode_image(file, name, {.channels = reading_.channels, .reduce = reduce});
  resample(decoded, reduced_part(decoded, box), reading_.fit.height, reading_.fit.width, pixels);
}

void EncodedImages::stretch(int64_t index, std::span<float> image) const {
  std::vector<uint8_t> buffer;
  const std::span<const uint8_t> file = source_->bytes(index, buffer);
  if (reading_.hash_as_read) note_hash(index, file);
  const Image decoded = decode_image(file, source_->name(index), {.channels = reading_.channels});
  std::vector<float> whole(decoded.pixels.size());
  to_floats(decoded.pixels, whole);
  resize_image(whole, {decoded.height, decoded.width, decoded.channels}, reading_.fit, image);
}

void EncodedImages::note_hash(int64_t index, std::span<const uint8_t> file) const {
  std::string hash = sha256(std::as_bytes(file));
  const std::lock_guard lock(mutex_);
  hashes_[static_cast<size_t>(index)] = std::move(hash);
}

std::string EncodedImages::content_sha256() const {
  const std::lock_guard lock(mutex_);
  if (!sha256_.empty()) return sha256_;
  std::vector<std::string> hashes = hashes_;
  hashes.resize(static_cast<size_t>(size()));
  Crew(reading_.workers).each(size(), [&](int64_t i, int) {
    std::string& hash = hashes[static_cast<size_t>(i)];
    std::vector<uint8_t> buffer;
    if (hash.empty()) hash = sha256(std::as_bytes(source_->bytes(i, buffer)));
  });
  Sha256 all;
  all.update(fmt::format("encoded images 2 {} {} {} {}\n", size(), classes_, reading_.channels, reading_.fit.str()));
  for (int64_t i = 0; i < size(); ++i)
    all.update(fmt::format("{} {}\n", source_->label(i), hashes[static_cast<size_t>(i)]));
  return sha256_ = all.hex();
}

}  // namespace lockstep
