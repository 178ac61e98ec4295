// Images kept in memory as bytes. Immutable: any thread may read.
#pragma once

#include <array>
#include <vector>

#include "launch/data/dataset.h"

namespace lockstep {

class ByteImages final : public Dataset {
 public:
  struct Contents {
    Shape image_shape;  // [H, W, C]
    int classes = 0;
    int white = 255;              // the value that `read` gives as 1
    std::vector<uint8_t> pixels;  // [N, H, W, C]
    std::vector<uint8_t> labels;  // [N]
  };
  /// Throws Error when the sizes contradict each other.
  explicit ByteImages(Contents contents);

  int64_t size() const override { return static_cast<int64_t>(contents_.labels.size()); }
  Shape image_shape() const override { return contents_.image_shape; }
  int classes() const override { return contents_.classes; }
  int32_t read(int64_t index, std::span<float> image) const override;
  int32_t label(int64_t index) const override { return contents_.labels.at(static_cast<size_t>(index)); }
  std::string content_sha256() const override;

 private:
  Contents contents_;
  size_t image_bytes_;
  std::array<float, 256> grey_;
};

/// Throws Error when `index` or the size of `image` (floats) does not fit the data set.
void check_read(const Dataset& dataset, int64_t index, std::span<float> image);

}  // namespace lockstep
