#include <fmt/format.h>

#include "core/error.h"
#include "launch/cli/options/options.h"
#include "launch/cli/options/trained.h"
#include "launch/cli/verbs/verbs.h"
#include "launch/record/checkpoint.h"

namespace lockstep::cli {

void evaluate(const Options& options, Runtime& runtime) {
  if (options.weights.empty()) throw InputError("--weights or --run is missing, expected trained weights");
  const RunOptions run = run_options(options, runtime);
  const Data data = prepare_data(options.data, data_options(options, runtime)).data;
  const auto& tested = data.test ? data.test : data.validation;
  if (!tested) throw InputError("--data {}: has no test set, expected one, or --validation-split", options.data);
  Model model(options.run.empty() ? network(options, data.train->image_shape(), data.train->classes())
                                  : run_network(options.run),
              runtime);
  model.compile({.loss = loss_of_data(options), .metrics = metrics(options)});
  model.set_weights(load_weights(options.weights, model.network()));
  const Evaluation result = model.evaluate(tested, run);
  if (runtime.rank() != 0) return;
  const char* const set = data.test ? "test" : "validation";
  fmt::print("{} loss {:.6f}\n", set, result.loss);
  print_metrics(set, result.metrics);
  fmt::print("weights sha256 {}\n", model.weights_sha256());
}

}  // namespace lockstep::cli
