#include <fmt/format.h>

#include "core/error.h"
#include "launch/cli/options/options.h"
#include "launch/cli/verbs/verbs.h"
#include "launch/estimate/search.h"
#include "launch/files/durable.h"

namespace lockstep::cli {

void plan(const Options& options, Runtime& runtime) {
  const RunOptions run = run_options(options, runtime);
  DataOptions reading = data_options(options, runtime);
  reading.normalise = "none";
  const Data data = prepare_data(options.data, reading).data;
  Model model(network(options, data.train->image_shape(), data.train->classes()), runtime);
  model.compile({.optimizer = optimizer(options), .loss = loss(options), .metrics = metrics(options)});
  if (options.search) {
    if (options.strategy != "data")
      throw InputError("--search tries all strategies of --ranks ranks: leave --strategy {} out", options.strategy);
    if (options.computing.backend == BackendChoice::cuda || run.precision != Precision::fp32)
      throw InputError("--search times ranks on the CPU, which computes in fp32: expected --backend cpu");
    ResolvedRun shared = share_out(run, runtime);
    shared.step.loss = loss(options);
    shared.step.metrics = metrics(options);
    const Link link = options.link.empty() ? measure_link(runtime, shared.ranks) : parse_link(options.link);
    const auto found = search_strategies(runtime, model.network(), shared.step, optimizer(options), shared.ranks,
                                         shared.threads, link);
    fmt::print("{}", describe(found, link));
    return;
  }
  if (!options.link.empty()) throw InputError("--link {} prices what a search sends: expected --search", options.link);
  if (!options.draw.empty()) {
    const std::string svg = model.plan(run, "svg");
    runtime.run_on_first([&] { write_atomically(options.draw, svg); });
    return;
  }
  const std::string text = model.plan(run, options.pass);
  if (runtime.rank() == 0) fmt::print("{}", text);
}

}  // namespace lockstep::cli
