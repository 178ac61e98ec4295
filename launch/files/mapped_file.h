// A file's bytes as the system maps them into memory, read as they are touched. Immutable: any thread may read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

namespace lockstep {

class MappedFile {
 public:
  /// Throws InputError with the system's reason when it cannot be read.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::span<const uint8_t> bytes() const { return {data_, size_}; }

 private:
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace lockstep
