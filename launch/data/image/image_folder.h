// Photographs in folders, one a class.
#pragma once

#include <filesystem>

#include "launch/data/image/encoded_images.h"

namespace lockstep {

/// Opens DIRECTORY/class/*.jpg, .jpeg and .png, or, where there is DIRECTORY/train, the sets in DIRECTORY/train,
/// DIRECTORY/val (or valid, or validation) and DIRECTORY/test (any of the last two may be missing); other folders there
/// are told of. Classes are labelled in the byte order of
/// their names, samples ordered by class and name; a sample's key is a hash of class and name, so that others may come
/// and go. Each file's header is read: one that is no image is refused or, with OnCorrupt::skip, skipped, as are those
/// that cannot be decoded.
/// Files with other extensions are skipped, with a warning; those whose name begins with a dot are not looked at.
/// A `reading.fit` of 0x0 takes the images' own, which must be the same for all. Throws InputError.
Data open_image_folder(const std::filesystem::path& directory, ImageReading reading);

}  // namespace lockstep
