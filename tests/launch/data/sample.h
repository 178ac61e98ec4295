// Samples of data sets, and where real ones may lie, for tests.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "launch/data/dataset.h"
#include "tests/support/paths.h"

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

/// A folder of a real data set; it need not exist. LOCKSTEP_TEST_DATA names the parent of all.
inline std::filesystem::path real_data(const std::string& set) {
  const char* folder = std::getenv("LOCKSTEP_TEST_DATA");
  return (folder ? std::filesystem::path(folder) : std::filesystem::path(test::source_dir()) / "../shared/data") / set;
}

}  // namespace lockstep::testing
