// Random changes to training images, as torchvision's transforms of the same names make them. Immutable: any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/shape.h"

namespace lockstep {

/// What is done to each training image, each by its own amount: uniform between none and the most, both ways.
/// Random numbers are a function of seed, epoch and sample, never of the rank. Pixels from outside the image repeat the
/// outermost ones.
struct Augmentation {
  int64_t crop = 0;   // shifted by up to so many pixels down, up, right, left
  bool flip = false;  // left and right exchanged, with probability 1/2
  float rotate = 0;   // turned about the middle by up to so many degrees; bilinear
  float zoom = 0;     // made larger or smaller by up to this share of the size; bilinear

  bool any() const { return crop > 0 || flip || resamples(); }
  /// "none", or some of "crop:PIXELS", "flip", "rotate:DEGREES", "zoom:PERCENT", separated by commas.
  /// Throws InputError that shows the form.
  static Augmentation parse(const std::string& text);
  /// Changes an image [H, W, C]; `scratch` is overwritten.
  void apply(std::span<float> image, const Shape& shape, uint64_t seed, int64_t epoch, int64_t sample,
             std::vector<float>& scratch) const;

 private:
  bool resamples() const { return rotate > 0 || zoom > 0; }
};

}  // namespace lockstep
