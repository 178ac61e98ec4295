#include "launch/record/export.h"

#include <fmt/format.h>

#include "core/error.h"
#include "launch/cli/options/options.h"
#include "launch/cli/options/trained.h"
#include "launch/cli/verbs/verbs.h"
#include "launch/files/durable.h"
#include "launch/record/checkpoint.h"
#include "launch/record/weights_file.h"

namespace lockstep::cli {

void export_model(const Options& options, Runtime& runtime) {
  runtime.run_on_first([&] {
    const std::vector<std::string>& formats = export_formats();
    const std::string format = options.format.empty() ? formats[0] : options.format;
    const size_t kind = index_of("format", format, formats), model = export_format_names().size();
    const auto write_text = [&](const std::string& text) {
      if (options.output.empty())
        fmt::print("{}", text);
      else
        write_atomically(options.output, text);
    };
    if (kind > model) {
      if (options.run.empty())
        throw InputError("--run is missing, expected the run whose images' preparation to write");
      return write_text(run_preparation_text(options.run));
    }
    const Network network = options.run.empty() ? open_trained(options, runtime).network : run_network(options.run);
    if (kind == model) return write_text(network_to_json(network) + "\n");
    if (options.output.empty()) throw InputError("--output is missing, expected the safetensors file to write");
    if (options.weights.empty()) throw InputError("--weights or --run is missing, expected trained weights");
    const Weights weights = load_weights(options.weights, network);
    expect_finite(network, weights, fmt::format("the weights of '{}'", options.weights));
    const auto tensors = export_weights(network, weights, export_format_from_name(format));
    std::vector<NamedTensor> named;
    for (const ExportedTensor& tensor : tensors) named.push_back({tensor.name, tensor.shape, tensor.values});
    const WrittenFile written = write_safetensors(options.output, named);
    fmt::print("{}: {} tensors, {} bytes, sha256 {}\n", options.output, named.size(), written.bytes, written.sha256);
  });
}

}  // namespace lockstep::cli
