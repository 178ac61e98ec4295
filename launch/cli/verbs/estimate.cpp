#include "launch/cli/verbs/estimate.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"

namespace lockstep::cli {

double StepTimes::median() const {
  std::vector<double> seconds;
  for (size_t i = practice; i < ends_.size(); ++i)
    seconds.push_back(std::chrono::duration<double>(ends_[i] - ends_[i - 1]).count());
  if (seconds.empty()) throw Error("{} steps, expected more than {} to take times of", ends_.size(), practice);
  std::ranges::sort(seconds);
  return seconds[seconds.size() / 2];
}

void check_estimable(const RunOptions& run, const Runtime& runtime, int64_t steps) {
  if (runtime.distributed())
    throw InputError("--estimate times ranks as threads of one process: start it without mpirun, with --ranks {}",
                     runtime.size());
  if (uses_gpus(run.backend)) throw InputError("--estimate times ranks on the CPU, expected --backend cpu");
  if (const auto fewest = static_cast<int64_t>(StepTimes::practice) + 1; steps < fewest)
    throw InputError("--estimate compares with the steps after the first {}, the run has {}, expected {} at least",
                     StepTimes::practice, steps, fewest);
}

StepEstimate estimate_run(Runtime& runtime, const Model& model, const ResolvedRun& run, const Optimizer& optimizer) {
  return estimate_step(runtime, model.network(), run.step, optimizer, run.ranks, run.threads,
                       measure_link(runtime, run.ranks));
}

nlohmann::ordered_json estimate_json(const StepEstimate& estimated, double measured) {
  return {{"seconds_per_step", estimated.seconds()},
          {"compute", estimated.compute},
          {"waiting", estimated.waiting},
          {"communication", estimated.communication},
          {"measured_seconds_per_step", measured},
          {"error", estimated.seconds() / measured - 1}};
}

std::string estimate_text(const StepEstimate& estimated, double measured) {
  return fmt::format("estimated {:.1f} ms a step, measured {:.1f} ms ({:+.1f} %)", 1e3 * estimated.seconds(),
                     1e3 * measured, 100 * (estimated.seconds() / measured - 1));
}

}  // namespace lockstep::cli
