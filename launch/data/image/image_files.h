// Single image files, without labels. Any thread.
#pragma once

#include <string>
#include <vector>

#include "launch/data/image/encoded_images.h"

namespace lockstep {

/// The files in their order, all with label 0, as a set of `classes`; a sample's key is its file's place in `paths`.
/// With OnCorrupt::stop each file's header is read, and the first that is no image throws CorruptImage; with
/// OnCorrupt::skip those that cannot be decoded are skipped. Throws InputError where a file cannot be read.
std::shared_ptr<const Dataset> open_image_files(const std::vector<std::string>& paths, int classes,
                                                const ImageReading& reading);

}  // namespace lockstep
