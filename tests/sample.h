// One sample of a data set, for tests.
#pragma once

#include <vector>

#include "launch/data/dataset.h"

namespace lockstep::testing {

inline std::vector<float> image(const Dataset& data, int64_t index) {
  std::vector<float> floats(static_cast<size_t>(data.image_shape().elements()));
  data.read(index, floats);
  return floats;
}

inline int32_t label(const Dataset& data, int64_t index) {
  std::vector<float> floats(static_cast<size_t>(data.image_shape().elements()));
  return data.read(index, floats);
}

}  // namespace lockstep::testing
