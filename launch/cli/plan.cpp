#include <fmt/format.h>

#include "launch/cli/options.h"

namespace lockstep::cli {

void plan(const Options& options, Runtime& runtime) {
  const RunOptions run = run_options(options, runtime);
  const Data data = prepare_data(options.data, {options.resize, "none"}).data;
  Model model(network(options, data.train->image_shape(), data.train->classes()), runtime);
  model.compile({.optimizer = optimizer(options)});
  const std::string text = model.plan(run, options.pass);
  if (runtime.rank() == 0) fmt::print("{}", text);
}

}  // namespace lockstep::cli
