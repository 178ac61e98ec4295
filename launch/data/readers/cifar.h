// CIFAR-10 and CIFAR-100 (Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009), binary version,
// plain or packed with gzip or xz.
#pragma once

#include <filesystem>

#include "launch/data/byte_images.h"

namespace lockstep {

/// How a record begins: CIFAR-10 with a label, CIFAR-100 with a coarse one, that is not used, and a fine one.
struct CifarFormat {
  int classes = 10;
  size_t label_bytes = 1;
};
constexpr CifarFormat cifar10{10, 1}, cifar100{100, 2};

/// Opens data_batch_1.bin to data_batch_5.bin and test_batch.bin (CIFAR-10) or train.bin and test.bin (CIFAR-100), each
/// perhaps with .gz or .xz after it; `workers` threads unpack. Images are [32, 32, 3], byte / 255; class names come
/// from batches.meta.txt or fine_label_names.txt where that is there. Throws InputError with file, byte, what was found
/// and what was expected.
Data open_cifar(const std::filesystem::path& directory, const CifarFormat& format, int workers);

/// One file's records; `file` is its name in errors.
ByteImages::Contents parse_cifar(std::span<const uint8_t> bytes, const CifarFormat& format, const std::string& file);

}  // namespace lockstep
