// MNIST's IDX files (http://yann.lecun.com/exdb/mnist/), plain or packed with gzip.
#pragma once

#include <filesystem>
#include <vector>

#include "launch/data/dataset.h"

namespace lockstep {

/// Opens train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte in
/// `directory`; each may end in .gz, and '.idx' may stand for '-idx'. Images are [H, W, 1], ten classes, byte / 255.
/// Throws InputError with file, byte offset, what was found and what was expected.
Data open_idx(const std::filesystem::path& directory);

/// A file's bytes, unpacked.
struct IdxFile {
  std::string file;  // its name in errors
  bool packed = false;
  std::vector<uint8_t> bytes;
};
/// One set of its two files.
std::shared_ptr<const Dataset> parse_idx(IdxFile images, IdxFile labels);

}  // namespace lockstep
