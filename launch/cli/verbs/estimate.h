// --estimate: what a step of a run was expected to take, beside what it took. Used by the thread that trains.
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>

#include "launch/estimate/step_estimate.h"
#include "launch/model/model.h"

namespace lockstep::cli {

/// The times of a run's steps, from one's end to the next one's.
class StepTimes {
 public:
  /// Steps that count for nothing: what is loaded and first touched in them is there in all others.
  static constexpr size_t practice = 2;

  void ended() { ends_.push_back(std::chrono::steady_clock::now()); }
  /// Seconds, of the steps after the first `practice`, of which there is one at least.
  double median() const;

 private:
  std::vector<std::chrono::steady_clock::time_point> ends_;
};

/// Throws InputError where a run of so many steps cannot be estimated: under a launcher, on GPUs, or where it is too
/// short to be measured.
void check_estimable(const RunOptions& run, const Runtime& runtime, int64_t steps);

/// Of the run's own strategy, over the link between threads of this machine.
StepEstimate estimate_run(Runtime& runtime, const Model& model, const ResolvedRun& run, const Optimizer& optimizer);

/// {"seconds_per_step", "compute", "waiting", "communication", "measured_seconds_per_step", "error"}: times in seconds,
/// the error as a part of what was measured.
nlohmann::ordered_json estimate_json(const StepEstimate& estimated, double measured);
/// The same as a line for people.
std::string estimate_text(const StepEstimate& estimated, double measured);

}  // namespace lockstep::cli
