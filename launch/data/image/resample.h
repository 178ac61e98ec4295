// Parts of images brought to another size. Any thread may call.
#pragma once

#include "launch/data/fit.h"
#include "launch/data/image/image.h"

namespace lockstep {

/// Brings the part `box` of `image` to [height, width, C]: bilinear where it grows; where it shrinks, the triangle is
/// widened by the same factor, so that all pixels count (antialiasing). Columns first, then rows, each rounded to a
/// byte; weights in 22-bit fixed point: integers, so the bits depend on nothing else. As Pillow's Image.resize((width,
/// height), BILINEAR, box). Throws Error where the part is not one of the image.
void resample(const Image& image, const Crop& box, int64_t height, int64_t width, std::span<uint8_t> to);

/// Where a part of an image as it was before it was reduced lies in what was decoded.
Crop reduced_part(const Image& image, const Crop& part);

/// The middle of an image of `size` for a result of height x width: as much as has its proportions where `shorter` is
/// 0; else what lies in the middle once the shorter side was brought to `shorter` (torchvision's Resize(shorter) and
/// CenterCrop), which is no less than the result.
Crop central_crop(ImageSize size, int64_t height, int64_t width, int64_t shorter);

}  // namespace lockstep
