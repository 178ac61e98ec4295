// A log that grows. Each piece is handed to the system at once, whole, so what is there after a crash can be read. One
// thread writes.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace lockstep {

class AppendFile {
 public:
  enum class If { exists_refuse, exists_append };

  /// Creates the file. Throws InputError where it cannot be, or is there and refused.
  explicit AppendFile(const std::filesystem::path& path, If exists = If::exists_refuse);
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;
  ~AppendFile();

  /// Throws Error with the system's reason.
  void write(std::string_view bytes);
  /// In bytes.
  int64_t size() const;
  /// What lies after so many bytes is removed.
  void cut(int64_t bytes);

 private:
  std::string path_;
  int descriptor_;
};

}  // namespace lockstep
