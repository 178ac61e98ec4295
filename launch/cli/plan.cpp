#include <fmt/format.h>

#include "core/error.h"
#include "launch/cli/options.h"
#include "launch/manifest.h"
#include "launch/search.h"

namespace lockstep::cli {

void plan(const Options& options, Runtime& runtime) {
  const RunOptions run = run_options(options, runtime);
  const Data data = prepare_data(options.data, {options.resize, "none"}).data;
  Model model(network(options, data.train->image_shape(), data.train->classes()), runtime);
  model.compile({.optimizer = optimizer(options)});
  if (options.search) {
    if (options.strategy != "data")
      throw InputError("--search tries all strategies of --ranks ranks: leave --strategy {} out", options.strategy);
    if (options.backend == "cuda") throw InputError("--search times ranks on the CPU, expected --backend cpu");
    const Link link = measure_link(runtime);
    const StepOptions step{.batch = run.batch,
                           .lanes = run.lanes,
                           .numerics = run.numerics,
                           .strategy = run.strategy,
                           .recompute = run.recompute};
    const auto found = search_strategies(runtime, model.network(), step, optimizer(options), model.ranks(run),
                                         model.threads(run), link);
    fmt::print("{}", describe(found, link));
    return;
  }
  if (!options.draw.empty()) {
    const std::string svg = model.plan(run, "svg");
    runtime.run_on_first([&] { write_atomically(options.draw, svg); });
    return;
  }
  const std::string text = model.plan(run, options.pass);
  if (runtime.rank() == 0) fmt::print("{}", text);
}

}  // namespace lockstep::cli
