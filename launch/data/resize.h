// Images of floats brought to another size, as they are read. Immutable: any thread may read.
#pragma once

#include "launch/data/fit.h"

namespace lockstep {

/// The data set's images, each brought to its size as `fit` says. Each output row reads at the place of its centre, s =
/// begin + (y + 1/2) * length / H_out, of the part that the fit takes. Where the image grows, it is bilinear: rows i =
/// floor(s - 1/2) and i + 1 by their distances. Where it shrinks, all rows count that lie within length / H_out of s,
/// by that distance (the triangle, widened: antialiasing), as in image files (resample.h), but in floats. Columns
/// likewise. As PyTorch's interpolate(mode="bilinear", align_corners=False, antialias=True). Returns `inner` itself
/// where nothing is to be done.
std::shared_ptr<const Dataset> resized(std::shared_ptr<const Dataset> inner, const Fit& fit);

/// The same of one image of `shape` [H, W, C].
void resize_image(std::span<const float> image, const Shape& shape, const Fit& fit, std::span<float> to);

}  // namespace lockstep
