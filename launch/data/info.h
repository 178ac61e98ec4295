// What a data set holds, found by reading all of it. Any thread may call.
#pragma once

#include <string>
#include <vector>

#include "launch/data/dataset.h"
#include "launch/data/normalise.h"

namespace lockstep {

struct SetInfo {
  int64_t samples = 0;
  Shape image_shape;
  std::vector<int64_t> per_class;  // samples by label
  std::vector<std::string> corrupt;
  Normalisation values;  // of what can be read
  std::string sha256;
};

/// Reads every sample once, on `workers` threads; the result does not depend on how many. Image files should have been
/// opened with OnCorrupt::skip: with OnCorrupt::stop the first corrupt one throws; and with hash_as_read, so that their
/// content hash does not read them all again.
SetInfo look_at(const Dataset& set, int workers);

}  // namespace lockstep
