// Data sets packed into one file, that is mapped into memory and read without looking anything up.
#pragma once

#include <filesystem>

#include "launch/data/image/encoded_images.h"

namespace lockstep {

/// What a record's bytes are.
enum class PackedAs : uint8_t {
  file,   // an image file, JPEG or PNG
  bytes,  // an image [H, W, C] of bytes, read as byte / 255
  floats  // an image [H, W, C] of 32-bit floats, little-endian
};

/// A packed file is: a header of 64 bytes; the index, an entry a record; a text in JSON (sizes, class names, what was
/// done to images kept as pixels, and each set's name, number of records and content hash); the records, each from a
/// multiple of 64 bytes. Numbers are little-endian.
struct PackedHeader {
  char magic[8];         // "LSTPACK\1"
  uint64_t records;      // entries in the index
  uint64_t text_bytes;   // of the JSON after it
  uint64_t file_bytes;   // of the whole file
  uint32_t checksum;     // CRC-32 of index and text
  uint32_t reserved[7];  // 0
};
struct PackedEntry {
  uint64_t offset = 0, size = 0;  // of the record, in bytes of the file
  uint64_t key = 0;               // Dataset::key
  uint32_t checksum = 0;          // CRC-32 of the record
  int32_t label = 0;
  PackedAs as = PackedAs::bytes;
  uint8_t reserved[7] = {};
};
static_assert(sizeof(PackedHeader) == 64 && sizeof(PackedEntry) == 40);

/// Opens what write_packed wrote. Image files are brought to the size that `reading` gives; where it gives none, and
/// for images kept as pixels, the size is the file's. A record's checksum is verified when it is first read. Throws
/// InputError where the file is truncated or damaged, with the record and the byte.
Data open_packed(const std::filesystem::path& file, const ImageReading& reading);
/// The same from memory that outlives the data; `name` is the file's in errors.
Data parse_packed(std::span<const uint8_t> bytes, const std::string& name, const ImageReading& reading,
                  std::shared_ptr<const void> owner);

struct Packed {
  int64_t records = 0;
  uint64_t bytes = 0;  // of the file
};

/// Writes all sets of `data`; atomically: to a temporary name in the same folder, synced, then renamed. Sets of image
/// files (EncodedImages) are kept as their files where `keep_files`; of all others each image is kept as bytes where
/// these give the same floats, else as floats. `workers` threads read and decode; the file does not depend on how many.
/// Throws Error with the path and the system's reason.
Packed write_packed(const Data& data, const std::filesystem::path& file, bool keep_files, int workers);

}  // namespace lockstep
