// Files and folders that are there whole or not at all, after a crash as well: written under a temporary name, synced,
// renamed. One thread uses an object; any thread may call the functions.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "launch/files/sha256.h"

namespace lockstep {

/// A file under a temporary name that is removed again unless it is kept under another.
class TemporaryFile {
 public:
  /// In the folder of `beside`, under its name and six characters more. Throws Error when it cannot be created.
  explicit TemporaryFile(const std::filesystem::path& beside);
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile();

  /// Throws Error with the system's reason.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  /// Bytes written so far, and their SHA-256.
  uint64_t bytes() const { return bytes_; }
  std::string sha256() const { return hash_.hex(); }
  /// Syncs the file and gives it the name, in place of what had it.
  void keep_as(const std::filesystem::path& path);

 private:
  std::string name_;
  int descriptor_;
  uint64_t bytes_ = 0;
  Sha256 hash_;
  bool kept_ = false;
};

/// Writes a file so that whoever looks finds the old contents or the new, never a part. Throws Error with the system's
/// reason; then the old file is as it was.
void write_atomically(const std::filesystem::path& path, std::string_view contents);

/// Makes the names in a folder durable. Throws Error with the system's reason.
void sync_folder(const std::filesystem::path& folder);

/// Renames a file or folder within its folder, durably. Throws Error with the system's reason.
void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace lockstep
