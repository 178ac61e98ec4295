// One rank's part of fit and evaluate: the loop over steps and epochs, what is measured on the way, and where callbacks
// are called. Used by the rank's own thread; all ranks call together.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>

#include "launch/data/feed/feed.h"
#include "launch/host/host_memory.h"
#include "launch/model/model.h"
#include "launch/train/device.h"
#include "launch/train/trainer.h"

namespace lockstep {

/// What a fit is, alike on all ranks.
struct FitJob {
  const Network& network;
  std::shared_ptr<const Dataset> data;
  const FitOptions& options;
  FitLength length;
  int64_t first_step = 0, first_epoch = 0;  // of the whole run: where the fit began
  int workers = 1;                          // of the feeds
  float lr = 0;                             // the full rate
  FitPosition position = {};                // where it goes on
  CallbackStates callbacks = {};            // what they kept of a fit that goes on
  std::vector<std::string> slot_names = {};
  const nlohmann::ordered_json* configuration = nullptr;  // see fit_configuration; none where nothing is saved
};

/// What a fit came to. Apart from times, alike on all ranks.
struct Fitted {
  History history;
  float lr = 0;          // as callbacks left it
  FitPosition position;  // where it ended, or was interrupted
};

/// The rank's part of each batch: its consecutive lanes.
FeedOptions feed_options(const RunOptions& options, const Mesh& mesh, int workers);

Fitted fit_rank(const FitJob& job, RankContext& rank, Trainer& trainer, Device& device);

/// Means over the data set. No step may be under way. Calls step_ended(done, of) after each of the evaluation's.
Evaluation evaluate_rank(std::shared_ptr<const Dataset> data, const RunOptions& options, int workers, Trainer& trainer,
                         HostMemory& memory, const std::function<void(int64_t, int64_t)>& step_ended = {});

}  // namespace lockstep
