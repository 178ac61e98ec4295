// Small files of every kind: images with what Pillow makes of them (tests/golden/make_images.py), and NumPy's arrays
// (make_arrays.py).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/source_files.h"

namespace lockstep::testing {

inline const nlohmann::json& golden_images() {
  static const nlohmann::json all = test::golden_json("images.json");
  return all;
}

inline std::vector<uint8_t> from_base64(const std::string& text) {
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<uint8_t> bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const size_t value = digits.find(c);
    if (value == std::string::npos) break;
    bits = bits << 6 | static_cast<uint32_t>(value);
    if ((count += 6) >= 8) bytes.push_back(static_cast<uint8_t>(bits >> (count -= 8)));
  }
  return bytes;
}

inline std::vector<uint8_t> golden_file(const std::string& name) {
  return from_base64(golden_images()["images"][name]["file"]);
}

inline std::string golden_text(const std::string& name) {
  const auto bytes = golden_file(name);
  return {bytes.begin(), bytes.end()};
}

/// An .npy or .npz file.
inline std::vector<uint8_t> golden_array(const std::string& name) {
  static const nlohmann::json all = test::golden_json("arrays.json");
  return from_base64(all["files"][name]);
}

}  // namespace lockstep::testing
