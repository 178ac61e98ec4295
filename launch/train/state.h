// What training has come to between two steps: all that a later step depends on, beside the options. Plain data, the
// same for every number of ranks and every strategy.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "layers/network/weights.h"
#include "layers/optimizers/loss_scale.h"

namespace lockstep {

/// What a callback must know again where a fit is interrupted and goes on, perhaps in another process.
struct CallbackState {
  std::string text = {};
  Weights weights = {};  // of the network's variables; none, or all
  bool any() const { return !text.empty() || !weights.empty(); }
};

/// Sums that an epoch's report is made of: of the loss, then of the metrics. Doubles of equal floats in equal order:
/// the same on every rank.
struct EpochSums {
  std::vector<double> sums;
  int64_t samples = 0;
};

/// Where a fit that has not ended stands.
struct FitPosition {
  int64_t steps = 0, epochs = 0;  // of this fit, that are done
  int64_t step_in_epoch = 0;      // steps done of the epoch that is under way
  EpochSums sums = {};            // of these
  EpochSums ended = {};           // of the epoch that ended last; none before the first
};

/// Of several callbacks, by Callback::name, in their order.
using CallbackStates = std::vector<std::pair<std::string, CallbackState>>;

struct TrainingState {
  Weights weights = {};                      // whole variables; none: as the seed makes them
  std::vector<Weights> slots = {};           // the optimizer's, one map a slot; none: zeros
  std::optional<LossScale> loss_scale = {};  // none: as a run starts
  std::optional<float> lr = {};              // the full learning rate; none: the optimizer's
  int64_t steps_done = 0, epochs_done = 0;   // since compile; of a fit that has not ended, too
  FitPosition fit = {};                      // all 0 between two fits
  CallbackStates callbacks = {};             // of a fit that has not ended
};

}  // namespace lockstep
