// The right to write into a folder, which one process has at a time: that of a run, or of checkpoints. It is a file in
// the folder that is made only where there is none (O_EXCL), which is atomic on network file systems too. One thread
// uses an object.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace lockstep {

class FolderLock {
 public:
  /// The file's name. It says who has the folder, as JSON.
  static constexpr const char* name = "run.lock";

  /// Makes the folder, where it is missing, with those above it, and takes it. What a process of this machine has left
  /// that has ended, killed or by a crash of the machine, is replaced. Throws InputError, and leaves nothing behind,
  /// where the folder cannot be made or written; and where another process has it, with its host, number and start. If
  /// that one may run on another machine, the message tells which file to remove when it has ended.
  explicit FolderLock(const std::filesystem::path& folder);
  /// Gives it back, and removes the folders that were made for it and are empty.
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  /// Whether the file was made.
  bool make();
  /// Removes the file where the process that made it has ended. Throws where it has not.
  void replace() const;
  void remove_made() const noexcept;

  std::filesystem::path folder_, path_;
  std::vector<std::filesystem::path> made_;  // folders, from the outside in
  int descriptor_ = -1;
};

}  // namespace lockstep
