#include "launch/selftest/selftest.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "launch/cli/options/options.h"
#include "launch/cli/verbs/verbs.h"
#include "launch/files/durable.h"

namespace lockstep::cli {

void selftest(const Options& options, Runtime& runtime) {
  const RunOptions run = run_options(options, runtime);
  const SelftestReport report =
      lockstep::selftest(runtime, {.ranks = run.ranks, .backend = run.backend, .comm = run.comm, .seed = run.seed});
  if (runtime.rank() == 0) fmt::print("{}", report.text());
  if (runtime.rank() == 0 && !options.output.empty()) write_atomically(options.output, report.json().dump(2) + "\n");
  const SelfCheck* failed = report.failure();
  if (failed) throw Error("{}: {}", failed->name, failed->run ? failed->fault : "not run");
}

}  // namespace lockstep::cli
