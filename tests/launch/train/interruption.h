// Fits that are interrupted, for tests of what goes on with them.
#pragma once

#include <atomic>
#include <memory>

#include "launch/lockstep.h"
#include "launch/record/checkpoint.h"

namespace lockstep::test {

/// Interrupts a fit once so many steps of the run are done. Rank 0 alone is told to stop: the others must stop with it.
inline void interrupt_after(int64_t steps, const Model& model, FitOptions& fit) {
  const auto done = std::make_shared<std::atomic<int64_t>>(model.steps_resumed());
  fit.callbacks.push_back(
      lambda_callback({.on_step_end = [done](Training&, const Report& report) { *done = report.step + 1; },
                       .acts = Callback::Acts::never}));
  fit.stop_requested = [done, steps] { return *done >= steps; };
  fit.stop_within = 0;
}

/// What write_checkpoint takes to write it again.
inline Checkpoint contents(const StoredCheckpoint& stored, const Network& network) {
  return {.state = stored.state(network),
          .slot_names = stored.manifest()["slots"],
          .configuration = stored.manifest()["configuration"],
          .run = stored.manifest()["run"]};
}

}  // namespace lockstep::test
