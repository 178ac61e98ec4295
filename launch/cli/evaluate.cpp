#include <fmt/format.h>

#include "core/error.h"
#include "launch/cli/verbs.h"
#include "launch/weights_file.h"

namespace lockstep::cli {

void evaluate(const Options& options, Runtime& runtime) {
  const RunOptions run = run_options(options, runtime);
  const Data data = prepare_data(options.data, {options.resize, options.normalise}).data;
  if (!data.test) throw InputError("--data {}: has no test set", options.data);
  Model model(network(options, data.train->image_shape(), data.train->classes()), runtime);
  model.set_weights(read_weights(options.weights, model.network()));
  const Evaluation result = model.evaluate(data.test, run);
  if (runtime.rank() != 0) return;
  fmt::print("test loss {:.6f}\ntest accuracy {:.2f} %\nweights sha256 {}\n", result.loss, 100 * result.accuracy,
             model.weights_sha256());
}

}  // namespace lockstep::cli
