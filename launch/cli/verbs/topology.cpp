#include "launch/host/topology.h"

#include <fmt/format.h>

#include "launch/backends/backends.h"
#include "launch/cli/options/options.h"
#include "launch/cli/verbs/verbs.h"

namespace lockstep::cli {

void topology(const Options& options, Runtime& runtime) {
  int ranks = run_options(options, runtime).ranks;
  if (runtime.distributed())
    ranks = runtime.size();
  else if (ranks == 0)
    ranks = !gpus().empty() ? static_cast<int>(gpus().size()) : runtime.auto_ranks(options.computing.lanes, 1);
  runtime.run(ranks, [&](RankContext& rank) {
    const std::vector<RankReport> reports = survey(rank);
    if (rank.comm.rank() == 0) fmt::print("{}", describe(reports));
  });
}

}  // namespace lockstep::cli
