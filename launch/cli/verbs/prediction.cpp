#include "launch/cli/verbs/prediction.h"

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

void check_predictable(const RunOptions& run, const Runtime& runtime, int64_t steps) {
  if (runtime.distributed())
    throw InputError("--predict times ranks as threads of one process: start it without mpirun, with --ranks {}",
                     runtime.size());
  if (uses_gpus(run.backend)) throw InputError("--predict times ranks on the CPU, expected --backend cpu");
  if (const auto fewest = static_cast<int64_t>(StepTimes::practice) + 1; steps < fewest)
    throw InputError("--predict compares with the steps after the first {}, the run has {}, expected {} at least",
                     StepTimes::practice, steps, fewest);
}

Prediction predict_run(Runtime& runtime, const Model& model, const ResolvedRun& run, const Optimizer& optimizer) {
  return predict_strategy(runtime, model.network(), run.step, optimizer, run.ranks, run.threads,
                          measure_link(runtime, run.ranks));
}

nlohmann::ordered_json prediction_json(const Prediction& predicted, double measured) {
  return {{"seconds_per_step", predicted.seconds()},
          {"compute", predicted.compute},
          {"waiting", predicted.waiting},
          {"communication", predicted.communication},
          {"measured_seconds_per_step", measured},
          {"error", predicted.seconds() / measured - 1}};
}

std::string prediction_text(const Prediction& predicted, double measured) {
  return fmt::format("predicted {:.1f} ms a step, measured {:.1f} ms ({:+.1f} %)", 1e3 * predicted.seconds(),
                     1e3 * measured, 100 * (predicted.seconds() / measured - 1));
}

}  // namespace lockstep::cli
