// Small files of every kind: images with what Pillow makes of them (tests/golden/make_images.py), and NumPy's arrays
// (make_arrays.py).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/source_files.h"

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

/// A PNG whose chunks of this type stand after its pixels instead of before them.
inline std::vector<uint8_t> chunks_last(const std::vector<uint8_t>& png, const std::string& type) {
  std::vector<uint8_t> front(png.begin(), png.begin() + 8), last, end;
  for (size_t at = 8; at + 12 <= png.size();) {
    const size_t length =
        12 + (size_t{png[at]} << 24 | size_t{png[at + 1]} << 16 | size_t{png[at + 2]} << 8 | png[at + 3]);
    const std::string found(png.begin() + static_cast<ptrdiff_t>(at) + 4, png.begin() + static_cast<ptrdiff_t>(at) + 8);
    auto& to = found == type ? last : found == "IEND" ? end : front;
    to.insert(to.end(), png.begin() + static_cast<ptrdiff_t>(at), png.begin() + static_cast<ptrdiff_t>(at + length));
    at += length;
  }
  front.insert(front.end(), last.begin(), last.end());
  front.insert(front.end(), end.begin(), end.end());
  return front;
}

/// An .npy or .npz file.
inline std::vector<uint8_t> golden_array(const std::string& name) {
  static const nlohmann::json all = test::golden_json("arrays.json");
  return from_base64(all["files"][name]);
}

}  // namespace lockstep::testing
