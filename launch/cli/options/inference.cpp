// Trained models, and what is made of them.
#include <CLI/CLI.hpp>

#include "launch/cli/options/options.h"
#include "launch/record/export.h"

namespace lockstep::cli {

const std::vector<std::string>& prediction_formats() {
  static const std::vector<std::string> names{"text", "csv", "json"};
  return names;
}

const std::vector<std::string>& export_formats() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all = export_format_names();
    all.insert(all.end(), {"json", "preparation"});
    return all;
  }();
  return names;
}

void add_weights_options(CLI::App& verb, Options& options) {
  verb.option_defaults()->group("Trained model");
  verb.add_option("--run", options.run,
                  "The folder of a training run: gives model, weights, data, and how images are resized and normalised")
      ->type_name("DIR");
  verb.add_option("--weights", options.weights, "A weights.safetensors file, a checkpoint, or a folder of them")
      ->type_name("FILE");
}

void add_predict_options(CLI::App& verb, Options& options) {
  verb.option_defaults()->group("Prediction");
  verb.add_option("FILES", options.files,
                  "JPEG and PNG images; without any, the test images of --data, or where it has none its validation or "
                  "training "
                  "images")
      ->type_name("FILE")
      ->expected(0, 1 << 20);
  verb.add_option("--top", options.top, "At most so many of the most probable classes of an image")
      ->capture_default_str();
  verb.add_option("--format", options.format, "What is written; the default is text")
      ->type_name(alternatives(prediction_formats()));
  verb.add_option("--output", options.output, "The file to write; without it, to standard output")->type_name("FILE");
}

void add_export_options(CLI::App& verb, Options& options) {
  verb.option_defaults()->group("Export");
  verb.add_option(
          "--format", options.format,
          "Weights as safetensors with names and layouts of torch (the default) or keras; or the model as json; or "
          "as JSON too, how a run prepares images: resizing, mean, std, class names")
      ->type_name(alternatives(export_formats()));
  verb.add_option("--output", options.output, "The file to write; JSON without it goes to standard output")
      ->type_name("FILE");
}

}  // namespace lockstep::cli
