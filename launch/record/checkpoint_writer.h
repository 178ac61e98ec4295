// Writes checkpoints beside training, one at a time. One thread uses it; a thread of its own hashes and writes.
#pragma once

#include <future>
#include <optional>

#include "launch/record/checkpoint.h"
#include "launch/record/folder_lock.h"

namespace lockstep {

class CheckpointWriter {
 public:
  /// Takes the folder, where there is one, for this process alone, and clears it of what a killed run has left half
  /// written. Of checkpoints up to the one that was written last, the newest `keep` stay. `network` must outlive the
  /// writer. Throws InputError as FolderLock does.
  CheckpointWriter(const Network& network, std::filesystem::path folder, int64_t keep);
  /// Waits; what fails then is logged.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  /// Begins to write, when the one before is written. Returns its path, which is there when it is whole. Throws what
  /// the one before failed with, and as FolderLock does.
  std::filesystem::path start(Checkpoint checkpoint);
  /// Throws what the last one failed with, if it has.
  void check();
  /// Returns when the last one is written, and old ones are removed. Throws as check.
  void wait();

 private:
  const Network& network_;
  std::filesystem::path folder_;
  int64_t keep_;
  std::optional<FolderLock> lock_;
  std::future<void> writing_;
};

}  // namespace lockstep
