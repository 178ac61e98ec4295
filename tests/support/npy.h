// NumPy's array files, format version 1.0.
#pragma once

#include <fmt/format.h>

#include <string>

namespace lockstep::testing {

/// Of a type such as "<f4", a shape such as "(2, 3)", and the values' bytes in C's order.
inline std::string npy(const std::string& type, const std::string& shape, const std::string& values) {
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}", type, shape);
  header.resize(118, ' ');
  return std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header + values;
}

}  // namespace lockstep::testing
