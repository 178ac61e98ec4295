// NumPy's .npy arrays and .npz archives of them. Any thread may call.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launch/data/dataset.h"

namespace lockstep {

/// An array as it lies in a file: C order, little-endian.
struct Array {
  char kind = 'u';  // of a number: u unsigned, i signed, f floating point, b bool
  size_t size = 1;  // its bytes
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;

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

/// The arrays of an .npz archive by name, without ".npy": a ZIP archive whose members are stored or deflated.
/// Throws InputError with byte and member, for wrong checksums too.
std::map<std::string, Array> parse_npz(std::span<const uint8_t> bytes, const std::string& file);

/// Images [N, H, W] or [N, H, W, C] of u1 (read as byte / 255), f4 or f8 (read as they are), and labels [N] or [N, 1]
/// of whole numbers from 0. `classes` is one more than the largest label, and at least `least_classes`. Throws
/// InputError.
std::shared_ptr<const Dataset> array_dataset(Array images, Array labels, int least_classes, const std::string& where);

/// "IMAGES.npy,LABELS.npy": a training set.
Data open_npy(const std::string& files);
/// An archive with x_train and y_train, and perhaps x_test and y_test, as Keras' mnist.npz.
Data open_npz(const std::filesystem::path& file);

}  // namespace lockstep
