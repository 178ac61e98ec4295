#include "launch/model/run.h"

#include <algorithm>

#include "core/error.h"
#include "launch/backends/backends.h"
#include "launch/plan/placed_network.h"
#include "parallel/mesh/strategy.h"

namespace lockstep {

namespace {

/// As many as keep the cores or the GPUs busy, where the options leave it open.
int ranks_of(const RunOptions& options, const Strategy& strategy, bool cuda, const Runtime& runtime) {
  if (runtime.distributed()) return runtime.size();
  if (options.ranks > 0) return options.ranks;
  const auto together = static_cast<int>(strategy.ranks_per_lane());
  if (strategy.data_ranks) return together * static_cast<int>(*strategy.data_ranks);
  const bool fast = options.numerics == Numerics::fast;
  if (cuda)
    return together * Runtime::fitting_ranks(static_cast<int>(gpus().size()) / together, fast ? 0 : options.lanes);
  return together * (fast ? 1 : runtime.auto_ranks(options.lanes, std::max(options.threads, 1) * together));
}

int ranks_here(const ResolvedRun& run, const Runtime& runtime) {
  return runtime.distributed() ? runtime.local_size() : run.ranks;
}

}  // namespace

ResolvedRun share_out(const RunOptions& options, const Runtime& runtime) {
  ResolvedRun run{.step = {.batch = options.batch,
                           .lanes = options.lanes,
                           .numerics = options.numerics,
                           .precision = options.precision,
                           .strategy = options.strategy,
                           .recompute = options.recompute}};
  Strategy& strategy = run.step.strategy;
  strategy.layer_stages.clear();
  resolve_stages(strategy, runtime.distributed() ? runtime.size() : options.ranks);
  run.gpus = uses_gpus(options.backend);
  run.ranks = ranks_of(options, strategy, run.gpus, runtime);
  const bool fast = options.numerics == Numerics::fast;
  run.lanes = fast ? run.ranks : options.lanes;
  const int share = std::max(1, runtime.cores() / ranks_here(run, runtime));
  run.threads = options.threads > 0 ? options.threads : fast ? share : 1;
  // On the CPU the ranks keep the cores busy; on GPUs they leave them.
  run.workers = options.workers > 0 ? options.workers : run.gpus ? share : 1;
  return run;
}

ResolvedRun resolve(const RunOptions& options, const Runtime& runtime, const Network& network) {
  ResolvedRun run = share_out(options, runtime);
  Strategy& strategy = run.step.strategy;
  strategy = PlacedNetwork(network, run.step, run.ranks).strategy();
  const int64_t here = ranks_here(run, runtime);
  runtime.check_threads("threads", run.threads, here * run.threads);
  runtime.check_threads("workers", run.workers, here * run.workers);
  if (strategy.mesh.size() > 1 && options.numerics == Numerics::fast && run.gpus)
    throw InputError(
        "fast numerics times each rank's GPU algorithms by themselves, but ranks that share a sample must "
        "compute alike: expected reproducible numerics, or a strategy of data alone");
  const std::vector<std::string> layers = network.layer_names();
  for (const std::string& pattern : options.recompute) expect_match("--recompute", pattern, layers);
  return run;
}

}  // namespace lockstep
