// Random changes to training images, as Keras' layers of the same names make them. Immutable: any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/shape.h"
#include "launch/data/dataset.h"
#include "launch/data/feed/mix.h"

namespace lockstep {

/// What is done to each training image, each by its own amount: uniform between none and the most, both ways, where
/// nothing else is said. Random numbers are a function of seed, epoch and sample, never of the rank. Pixels from
/// outside the image repeat the outermost ones. Done in this order: resized_crop as the image is read, the moves (one
/// bilinear resampling, or none where whole pixels move), the colours, then what is erased.
struct Augmentation {
  int64_t crop = 0;   // RandomCrop of an image padded so: shifted by up to so many pixels down, up, right, left
  bool flip = false;  // RandomFlip("horizontal"): left and right exchanged, with probability 1/2
  float rotate = 0;   // RandomRotation: turned about the middle by up to so many degrees
  float zoom = 0;     // RandomZoom: made larger or smaller by up to this share of the size
  bool vertical_flip = false;  // RandomFlip("vertical")
  float shear = 0;             // RandomShear: rows pushed sideways, by up to so many degrees
  float translate = 0;         // RandomTranslation: shifted by up to this share of the height and of the width
  /// RandomBrightness: up to this share of the way from black to white added to all values, as Keras does it;
  /// torchvision's adjust_brightness multiplies.
  float brightness = 0;
  /// RandomContrast: (x - mean) * (1 ± this) + mean, with the mean of each channel, as Keras has it; torchvision's
  /// adjust_contrast takes the mean of the grey image for all of them.
  float contrast = 0;
  /// (x - grey) * (1 ± this) + grey, with the luma of ITU-R BT.601 as grey, as torchvision's adjust_saturation; Keras'
  /// RandomSaturation multiplies HSV's saturation.
  float saturation = 0;
  float hue = 0;       // RandomHue: HSV's hue turned by up to so many degrees, as adjust_hue (360 times its factor)
  int64_t cutout = 0;  // a square of this side, its middle anywhere, becomes 0 (DeVries and Taylor, 2017)
  /// RandomErasing (Zhong et al., 2017): with this probability a rectangle of 2 to 33 % of the area, 3:10 to 10:3,
  /// becomes 0.
  float erase = 0;
  /// RandomResizedCrop (Szegedy et al., 2014): a part of from this share to all of the area, 3:4 to 4:3, as the image.
  float resized_crop = 0;
  /// With others of the global batch, and their targets with them: see Mix. Done last, by whoever has the batch.
  Mix mix = {};

  bool any() const {
    return crop > 0 || flip || vertical_flip || cutout > 0 || erase > 0 || resized_crop > 0 || mix.any() ||
           resamples() || colours();
  }
  /// "none", or some of "crop:PIXELS", "flip", "rotate:DEGREES" and so on, separated by commas: the names above, with
  /// shares in percent. Throws InputError that shows the form.
  static Augmentation parse(const std::string& text);
  /// "crop:PIXELS", "flip", …: each of them.
  static std::vector<std::string> forms();
  /// Throws InputError where images of this shape and with values in this range cannot be changed so: saturation and
  /// hue want three channels and no values below 0.
  void check(const Dataset& images) const;
  /// What of an image to read; to be called where resized_crop is above 0.
  ChooseCrop choose_crop(uint64_t seed, int64_t epoch, int64_t sample) const;
  /// Changes an image [H, W, C] whose values were in `range` before they were normalised so (null: were not);
  /// `scratch` is overwritten. Values that a change of colours brings outside black and white are cut there.
  void apply(std::span<float> image, const Shape& shape, uint64_t seed, int64_t epoch, int64_t sample,
             std::vector<float>& scratch, const Normalisation* normalisation = nullptr,
             const ValueRange& range = {}) const;
  /// Whether it goes by the range of the values.
  bool colours() const { return brightness > 0 || contrast > 0 || saturation > 0 || hue > 0; }

 private:
  bool resamples() const { return rotate > 0 || zoom > 0 || shear > 0 || translate > 0; }
};

namespace detail {

/// Where an output pixel comes from: matrix * (pixel - middle) + middle + shift, rows before columns.
struct Place {
  double down = 0, right = 0;
  double matrix[2][2] = {{1, 0}, {0, 1}};
};
/// Pixels move by whole numbers, mirrored or not.
void move_pixels(const Place& place, std::span<const float> from, const Shape& shape, float* out);
/// Bilinear.
void resample(const Place& place, std::span<const float> from, const Shape& shape, float* out);

struct ColourChange {
  float brightness = 0, contrast = 1, saturation = 1, hue = 0;  // hue in degrees
};
/// In this order, each cut to black and white.
void change_colours(const ColourChange& change, std::span<float> image, const Shape& shape,
                    const Normalisation* normalisation, const ValueRange& range = {});

}  // namespace detail

}  // namespace lockstep
