// Random changes to training images, as torchvision's transforms of the same names make them. Immutable: any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/shape.h"

namespace lockstep {

/// What is done to each training image. Random numbers are a function of seed, epoch and sample, never of the rank.
struct Augmentation {
  int64_t crop = 0;   // shifted by up to so many pixels down, up, right, left; the border repeats the outermost pixel
  bool flip = false;  // left and right exchanged, with probability 1/2

  explicit operator bool() const { return crop > 0 || flip; }
  /// "none", or one or both of "crop:PIXELS" and "flip", separated by a comma. Throws InputError that shows the form.
  static Augmentation parse(const std::string& text);
  /// Changes an image [H, W, C]; `scratch` is overwritten.
  void apply(std::span<float> image, const Shape& shape, uint64_t seed, int64_t epoch, int64_t sample,
             std::vector<float>& scratch) const;
};

}  // namespace lockstep
