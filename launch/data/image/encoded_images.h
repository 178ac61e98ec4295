// Image files, wherever their bytes lie, decoded and brought to one size as they are read. Any thread may read.
#pragma once

#include <array>
#include <atomic>
#include <mutex>

#include "launch/data/fit.h"
#include "launch/data/image/image.h"

namespace lockstep {

/// Where the bytes of image files come from. Immutable: any thread may read.
class ImageSource {
 public:
  virtual ~ImageSource() = default;
  virtual int64_t size() const = 0;
  /// The file's bytes, kept in `buffer` where they have no other place.
  virtual std::span<const uint8_t> bytes(int64_t index, std::vector<uint8_t>& buffer) const = 0;
  virtual std::string name(int64_t index) const = 0;
  virtual int32_t label(int64_t index) const = 0;
  virtual uint64_t key(int64_t index) const = 0;
};

/// What becomes of files that cannot be decoded: reading one throws CorruptImage; or they are found where the set is
/// opened and skipped, so that they are no samples.
enum class OnCorrupt { stop, skip };

struct ImageReading {
  /// What is read of each image: its middle in bytes, resampled as in resample.h, or, stretched, the whole in floats,
  /// as images of arrays are (resize.h). A size of 0x0 takes the images' own.
  Fit fit{.how = Fit::How::middle};
  int channels = 3;
  OnCorrupt on_corrupt = OnCorrupt::stop;
  int workers = 1;          // threads that compute the content hash
  bool cache = false;       // what `read` gives is kept in memory as bytes, and not decoded again
  bool keep_files = false;  // images of several sizes are let pass where the size is 0x0: to be packed, not read
  /// To be looked at (info.h), which reads every sample: files are hashed as they are decoded, so that the content hash
  /// reads no more, and those that OnCorrupt::skip would skip stay, but for those without a header: reading them
  /// throws.
  bool hash_as_read = false;

  /// Whether what cannot be decoded is to be found before anything is read.
  bool skips() const { return on_corrupt == OnCorrupt::skip && !hash_as_read; }
};

/// `read` gives of each image what `fit` takes, `read_crop` any part, resampled (resample.h). A JPEG that is
/// far larger than what is taken from it is decoded at a half, a quarter or an eighth of its size, unless all of it is
/// stretched. An image that cannot be decoded throws CorruptImage.
class EncodedImages final : public FittedImages {
 public:
  /// `skipped` says what was wrong with each file that is not in `source`.
  EncodedImages(std::shared_ptr<const ImageSource> source, int classes, const ImageReading& reading,
                bool one_size = true, std::vector<std::string> skipped = {});
  ~EncodedImages() override;

  int64_t size() const override { return source_->size(); }
  Shape image_shape() const override { return {reading_.fit.height, reading_.fit.width, reading_.channels}; }
  int classes() const override { return classes_; }
  std::vector<Fit> fits() const override { return {reading_.fit}; }
  int32_t read(int64_t index, std::span<float> image) const override;
  int32_t read_crop(int64_t index, const ChooseCrop& choose, std::span<float> image) const override;
  uint64_t key(int64_t index) const override { return source_->key(index); }
  int32_t label(int64_t index) const override { return source_->label(index); }
  /// The samples that can be decoded. All files are read and decoded for it, JPEGs at an eighth of their size; which
  /// ones are corrupt depends on their bytes alone. Each corrupt one is told of. Throws InputError where none is left.
  std::shared_ptr<const EncodedImages> without_corrupt() const;
  /// The samples for which `wrong` is empty; what it says of the others is added to corrupt().
  std::shared_ptr<const EncodedImages> without(const std::vector<std::string>& wrong) const;
  /// The same files, brought to another size.
  std::shared_ptr<const EncodedImages> at_size(int64_t height, int64_t width) const;
  /// Reads all files when it is called first, but for those hashed already.
  std::string content_sha256() const override;
  const ImageSource& source() const { return *source_; }
  /// All images are of one size before anything is done to them.
  bool one_size() const { return one_size_; }
  /// What is wrong with each file that was skipped.
  const std::vector<std::string>& corrupt() const { return skipped_; }

 private:
  void decode(int64_t index, const ChooseCrop& choose, std::span<uint8_t> pixels) const;
  void stretch(int64_t index, std::span<float> image) const;
  void note_hash(int64_t index, std::span<const uint8_t> file) const;

  std::shared_ptr<const ImageSource> source_;
  int classes_;
  ImageReading reading_;
  /// By sample, null where it was not read yet: all threads that find it so decode, and one of them keeps it.
  mutable std::vector<std::atomic<uint8_t*>> cache_;
  mutable std::mutex mutex_;
  bool one_size_;
  std::vector<std::string> skipped_;
  mutable std::vector<std::string>
      hashes_;  // by sample: of the files that were hashed already; empty where none is kept
  mutable std::string sha256_;
};

}  // namespace lockstep
