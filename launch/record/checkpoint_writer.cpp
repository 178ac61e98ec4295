#include "launch/record/checkpoint_writer.h"

#include "core/log.h"
#include "launch/record/checkpoint_folder.h"

namespace lockstep {

namespace fs = std::filesystem;

CheckpointWriter::CheckpointWriter(const Network& network, fs::path folder, int64_t keep)
    : network_(network), folder_(std::move(folder)), keep_(keep) {
  if (!fs::exists(folder_)) return;
  lock_.emplace(folder_);
  clear_leftovers(folder_);
}

CheckpointWriter::~CheckpointWriter() {
  try {
    wait();
  } catch (const std::exception& error) {
    log().error("{}", error.what());
  }
}

fs::path CheckpointWriter::start(Checkpoint checkpoint) {
  wait();
  if (!lock_) lock_.emplace(folder_);
  const int64_t step = checkpoint.state.steps_done;
  fs::path path = folder_ / checkpoint_name(step);
  writing_ = std::async(std::launch::async, [this, path, step, checkpoint = std::move(checkpoint)] {
    write_checkpoint(path, network_, checkpoint);
    prune_checkpoints(folder_, step, keep_);  // only now that the new one is durable
  });
  return path;
}

void CheckpointWriter::check() {
  if (writing_.valid() && writing_.wait_for(std::chrono::seconds(0)) == std::future_status::ready) writing_.get();
}

void CheckpointWriter::wait() {
  if (writing_.valid()) writing_.get();
}

}  // namespace lockstep
