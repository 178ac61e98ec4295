// A data set whose images are resized as they are read. Immutable: any thread may read.
#pragma once

#include <array>
#include <string>

#include "launch/data/dataset.h"

namespace lockstep {

/// Height and width from "32" or "32x48". Throws InputError that shows the form.
std::array<int64_t, 2> parse_size(const std::string& text);

/// Bilinear with half-pixel centres, as PyTorch's interpolate(mode="bilinear", align_corners=False, antialias=False):
/// output row y reads at s = max(0, (y + 1/2) * H_in / H_out - 1/2), i = floor(s), w = s - i, and is
/// (1 - w) * row[i] + w * row[min(i + 1, H_in - 1)]; columns likewise. Returns `inner` itself where the size is the
/// same.
std::shared_ptr<const Dataset> resized(std::shared_ptr<const Dataset> inner, std::array<int64_t, 2> size);

}  // namespace lockstep
