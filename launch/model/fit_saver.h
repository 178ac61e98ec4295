// A fit's checkpoints: when one is due, taking it from all ranks, and handing it to the writer, on rank 0. Used by each
// rank's own thread; all ranks make the same calls.
#pragma once

#include <optional>

#include "launch/model/fit.h"
#include "launch/record/checkpoint_writer.h"

namespace lockstep {

class FitSaver {
 public:
  /// All must outlive it; `host` is for host memory.
  FitSaver(const FitJob& job, Trainer& trainer, Communicator& host, std::string computed_with);

  /// Whether one is due after so many steps of the fit, the last of which ends its `epochs`-th epoch, if it ends one.
  bool due(int64_t steps, int64_t epochs, bool ends_epoch) const;
  /// Takes what the steps so far have left; none may be under way. Returns when a copy was made: the file follows.
  /// Nothing is done where there is no folder, or where this step's was taken already.
  void save(const FitPosition& position, float lr);
  /// Throws what writing has failed with.
  void check() {
    if (writer_) writer_->check();
  }
  /// Returns when all is written; throws as check.
  void finish() {
    if (writer_) writer_->wait();
  }

 private:
  const FitJob& job_;
  Trainer& trainer_;
  Communicator& host_;
  std::string computed_with_;
  std::optional<CheckpointWriter> writer_;  // on rank 0
  int64_t saved_ = -1;
};

}  // namespace lockstep
