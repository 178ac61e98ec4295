// NumPy's .npy arrays. Any thread may call.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lockstep {

/// An array, in C order and little-endian whatever the file has.
struct Array {
  char kind = 'u';  // of a number: u unsigned, i signed, f floating point, b bool
  size_t size = 1;  // its bytes
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;
  std::string where = {};  // it was read, for errors: "m.npy", "m.npz: x_train"

  std::string type() const { return std::string(1, kind) + std::to_string(size); }  // "u1", "f4", as NumPy calls it
  int64_t elements() const;
  /// Throws Error for types that are not whole numbers.
  int64_t whole(size_t index) const;
  /// Of an f4 or f8 array, or a u1 array as share of 255.
  float value(size_t index) const;
};

/// Reads .npy data (NumPy Enhancement Proposal 1, versions 1 to 3). `file` is its name in errors: InputError with byte,
/// what was found and what was expected.
Array parse_npy(std::vector<uint8_t> bytes, const std::string& file);

}  // namespace lockstep
