// Single image files, without labels. Any thread.
#pragma once

#include <string>
#include <vector>

#include "launch/data/encoded_images.h"

namespace lockstep {

/// The files in their order, all with label 0, as a set of `classes`. Each file's header is read. Throws CorruptImage
/// that names the first file that is no image, InputError where one cannot be read.
std::shared_ptr<const Dataset> open_image_files(const std::vector<std::string>& paths, int classes,
                                                const ImageReading& reading);

}  // namespace lockstep
