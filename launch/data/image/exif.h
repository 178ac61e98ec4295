// EXIF's orientation: how a camera was held. Any thread may call.
#pragma once

#include "launch/data/image/image.h"

namespace lockstep {

/// The orientation (tag 0x0112 of TIFF's first directory: 1 to 8, a SHORT as the standard asks or another whole number)
/// of EXIF data that begins with its TIFF header; 1, as stored, where it has none or is malformed: it is a remark about
/// the image, not a part of it.
int exif_orientation(std::span<const uint8_t> tiff);

/// Rows and columns change places.
constexpr bool turns_sideways(int orientation) { return orientation >= 5; }

/// Mirrored and turned as `orientation` asks (EXIF 2.32, table 4.6.4).
Image upright(Image stored, int orientation);

}  // namespace lockstep
