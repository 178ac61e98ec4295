// What a data set holds, found by reading all of it. Any thread may call.
#pragma once

#include <string>
#include <vector>

#include "launch/data/dataset.h"
#include "launch/data/normalise.h"

namespace lockstep {

struct SetInfo {
  int64_t samples = 0;  // that can be read; what follows is of them
  Shape image_shape;
  std::vector<int64_t> per_class;  // samples by label
  std::vector<std::string> corrupt;
  Normalisation values;
  std::string sha256;
};

/// Reads every sample once, on `workers` threads; the result does not depend on how many. Image files should have been
/// opened with hash_as_read, so that their content hash does not read them all again, and with OnCorrupt::skip. The
/// hash is that of a set opened with OnCorrupt::skip. Throws InputError where none can be read.
SetInfo look_at(const Dataset& set, int workers);

}  // namespace lockstep
