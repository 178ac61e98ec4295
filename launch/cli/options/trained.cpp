#include "launch/cli/options/trained.h"

#include <fmt/ranges.h>

#include "core/error.h"
#include "launch/cli/options/options.h"
#include "layers/network/json_lines.h"

namespace lockstep::cli {

namespace {

JsonDocument read_manifest(const std::string& run) {
  JsonDocument document = JsonDocument::read(run + "/manifest.json");
  if (!document.root().is_object() || !document.root().contains("network"))
    throw InputError("{}: has no 'network', expected the manifest of a training run", document.file());
  return document;
}

}  // namespace

Network run_network(const std::string& run) {
  const JsonDocument manifest = read_manifest(run);
  return network_from_json(manifest.root()["network"].dump(), manifest.file() + ": network");
}

Preparation run_preparation(const std::string& run) {
  const JsonDocument manifest = read_manifest(run);
  const nlohmann::ordered_json& root = manifest.root();
  if (!root.contains("data") || !root["data"].is_object() || !root["data"].contains("preparation"))
    throw InputError("{}: does not say how its images were prepared, expected 'data/preparation', or --resize",
                     manifest.file());
  return preparation_from_json(root["data"]["preparation"], manifest.file() + ": data/preparation");
}

std::string run_preparation_text(const std::string& run) {
  nlohmann::ordered_json text = to_json(run_preparation(run));
  const nlohmann::ordered_json data = read_manifest(run).root()["data"];
  for (const char* name : {"mean", "std", "class_names"})
    if (data.contains(name)) text[name] = data[name];
  return text.dump(2) + "\n";
}

Trained open_trained(const Options& options, const Runtime& runtime) {
  if (!options.run.empty()) {
    Trained trained{run_network(options.run), options.normalise, {}, {}, {}};
    const nlohmann::ordered_json manifest = read_manifest(options.run).root();
    const auto data = manifest.find("data");
    if (data == manifest.end()) return trained;
    if (data->contains("class_names")) trained.class_names = data->at("class_names").get<std::vector<std::string>>();
    if (data->contains("range")) trained.range = {data->at("range").at(0), data->at("range").at(1)};
    return trained;
  }
  PreparedData prepared = prepare_data(options.data, data_options(options, runtime));
  const Dataset& images = *prepared.data.train;
  const auto& by = prepared.normalisation;
  return {.network = network(options, images.image_shape(), images.classes()),
          .normalise = by ? fmt::format("{}/{}", fmt::join(by->mean, ","), fmt::join(by->std, ",")) : "none",
          .class_names = prepared.data.class_names,
          .data = prepared,
          .range = images.range()};
}

}  // namespace lockstep::cli
