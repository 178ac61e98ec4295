// What is trained and on which data: the model, the data set, and how its images are prepared.
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include "launch/cli/options/options.h"
#include "layers/zoo/zoo.h"

namespace lockstep::cli {

void add_model_options(CLI::App& verb, Options& options) {
  verb.option_defaults()->group("Model and data");
  verb.add_option("--model", options.model, "A model by name, or a JSON file")
      ->type_name(fmt::format("{}|FILE", fmt::join(zoo_names(), "|")))
      ->capture_default_str();
  add_data_options(verb, options);
}

void add_normalise_options(CLI::App& verb, Options& options) {
  verb.option_defaults()->group("Model and data");
  verb.add_option("--normalise", options.normalise, "Of each channel: auto measures the training set")
      ->type_name("auto|none|MEAN/STD")
      ->capture_default_str();
}

Network network(const Options& options, const Shape& image, int64_t classes) {
  if (!options.model.ends_with(".json")) return zoo_model(options.model, image, classes);
  return read_network(options.model);
}

}  // namespace lockstep::cli
