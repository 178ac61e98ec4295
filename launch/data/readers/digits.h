// The digits embedded in the binary: 1,797 handwritten digits of 8x8 pixels with 17 grey levels (origin: README.md).
#pragma once

#include <span>

#include "launch/data/dataset.h"

namespace lockstep {

/// digits.csv.gz, as it is.
std::span<const unsigned char> embedded_digits();

/// The first 1,437 for training, the last 360 for testing; [8, 8, 1], ten classes, grey level / 16.
Data open_digits();

}  // namespace lockstep
