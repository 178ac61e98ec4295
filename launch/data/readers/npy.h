// NumPy's .npy arrays and .npz archives of them. Any thread may call.
#pragma once

#include <filesystem>
#include <initializer_list>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launch/data/dataset.h"

namespace lockstep {

/// An array, in C order and little-endian whatever the file has.
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

/// Those of the arrays `names` (without ".npy") that an .npz archive has: a ZIP archive whose members are stored or
/// deflated. What else it holds is not read. Throws InputError with byte and member, for wrong checksums too.
std::map<std::string, Array> parse_npz(std::span<const uint8_t> bytes, const std::string& file,
                                       std::initializer_list<std::string_view> names);

/// Images [N, H, W] or [N, H, W, C] of u1 (read as byte / 255), f4 or f8 (read as they are), and labels [N] or [N, 1]
/// of whole numbers from 0. `classes` is one more than the largest label, and at least `least_classes`. Throws
/// InputError.
std::shared_ptr<const Dataset> array_dataset(Array images, Array labels, int least_classes, const std::string& where);

/// Where channels lie in arrays of images with four sides: [N, H, W, C], or [N, C, H, W], as PyTorch has them.
enum class Channels { last, first };

/// "IMAGES.npy,LABELS.npy": a training set. Warns where images that are read with channels last look as if these were
/// first: 1 or 3 in the second place, and not in the last.
Data open_npy(const std::string& files, Channels channels = Channels::last);
/// An archive with x_train and y_train, and perhaps x_test and y_test, as Keras' mnist.npz. Warns likewise.
Data open_npz(const std::filesystem::path& file, Channels channels = Channels::last);

}  // namespace lockstep
