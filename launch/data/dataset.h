// Labelled images by global sample id. Immutable after opening: any thread may read.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/shape.h"

namespace lockstep {

class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  /// [H, W, C]
  virtual Shape image_shape() const = 0;
  virtual int classes() const = 0;
  /// Writes sample `index` as H*W*C floats, channels-last, in [0, 1] unless normalised, and returns its label in [0,
  /// classes).
  virtual int32_t read(int64_t index, std::span<float> image) const = 0;
  /// SHA-256, in hex, that tells apart what `read` returns: of the content, or of another set's hash and what was done
  /// to it. Recorded in the manifest.
  virtual std::string content_sha256() const = 0;
};

/// A training and a test set. `test` may be null.
struct Data {
  std::string name;  // as given: "digits", "idx:DIR", "synthetic:224x224x3/10/1024"
  std::shared_ptr<const Dataset> train, test;
};

}  // namespace lockstep
