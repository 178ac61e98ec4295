// Labelled images by global sample id. Immutable after opening: any thread may read.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace lockstep {

struct Normalisation;

/// A part of an image, in pixels; edges may lie between them.
struct Crop {
  double top = 0, left = 0, height = 0, width = 0;
};
/// Picks a part of an image of so many rows and columns.
using ChooseCrop = std::function<Crop(int64_t height, int64_t width)>;

/// What black and white are among a data set's values, before any normalisation.
struct ValueRange {
  float black = 0, white = 1;
};

class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  /// [H, W, C]
  virtual Shape image_shape() const = 0;
  /// 0 where targets are numbers.
  virtual int classes() const = 0;
  /// What a sample is to be predicted as: the class index that `read` returns, i32[]; or what `read_target` writes,
  /// class indices of its pixels, i32[H, W], or numbers, f32[…].
  virtual Type target() const { return {Shape{}, DType::i32}; }
  /// Writes the target of sample `index`, where it is not what `read` returns.
  virtual void read_target(int64_t index, std::span<std::byte> target) const;
  /// Writes sample `index` as H*W*C floats, channels-last, in range() unless normalised, and returns its label in [0,
  /// classes); any number where that is not its target.
  virtual int32_t read(int64_t index, std::span<float> image) const = 0;
  /// As `read`, but of the part that `choose` picks, brought to image_shape(). Sets that resize their images let it
  /// pick from the image before that; here it picks from the image as `read` gives it.
  virtual int32_t read_crop(int64_t index, const ChooseCrop& choose, std::span<float> image) const;
  /// The label that `read` gives; sets that know it without the image override this.
  virtual int32_t label(int64_t index) const;
  /// What tells a sample from the others, whatever else the set holds: its number, or a hash of its name.
  virtual uint64_t key(int64_t index) const { return static_cast<uint64_t>(index); }
  /// What changes colours goes by this. Bytes are read as 0 to 1; of floats see measured_range.
  virtual ValueRange range() const { return {}; }
  /// By what the values that `read` gives were shifted and scaled; null where they are in range().
  virtual const Normalisation* normalisation() const { return nullptr; }
  /// SHA-256, in hex, that tells apart what `read` returns: of the content, or of another set's hash and what was done
  /// to it. Recorded in the manifest.
  virtual std::string content_sha256() const = 0;
};

/// The range of images of floats: black is 0 and white is 1, or the least and the greatest value of all samples where
/// these lie outside; both NaN where a value is not finite. Reads all samples.
ValueRange measured_range(const Dataset& set);

/// A training, a test and a validation set; all but the first may be null.
struct Data {
  std::string name;  // as given: "digits", "idx:DIR", "synthetic:224x224x3/10/1024"
  std::shared_ptr<const Dataset> train, test, validation = nullptr;
  std::vector<std::string> class_names = {};  // by label; empty where the source has none
};

}  // namespace lockstep
