// Labels and probabilities of images. All ranks compute; rank 0 writes.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/error.h"
#include "launch/cli/options/options.h"
#include "launch/cli/options/trained.h"
#include "launch/cli/verbs/verbs.h"
#include "launch/files/durable.h"
#include "launch/record/checkpoint.h"
#include "layers/network/end.h"

namespace lockstep::cli {

namespace {

using Json = nlohmann::ordered_json;

/// What the network's outputs for an image are.
enum class Outputs {
  probabilities,          // one for each class, of a softmax; or of sigmoids, each by itself
  probability_of_second,  // one sigmoid's: the first of two classes has the rest
  values,                 // a regression's numbers, or logits
};

Outputs outputs_of(const Network& network) {
  const std::string end = end_of(network);
  if (end.empty()) return Outputs::values;
  const bool one = network.output_shape().elements() == 1;
  return end == "sigmoid" && one ? Outputs::probability_of_second : Outputs::probabilities;
}

/// What is predicted, and what its classes are called.
struct Asked {
  Outputs outputs = Outputs::probabilities;
  std::shared_ptr<const Dataset> images = {};
  std::vector<std::string> names = {};    // of the images; numbers where they have none
  std::vector<std::string> classes = {};  // by label
};

/// The classes of an image, most probable first; of equal ones the lower first.
std::vector<size_t> ranked(std::span<const float> probabilities, size_t top) {
  std::vector<size_t> order(probabilities.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return probabilities[a] > probabilities[b]; });
  order.resize(top);
  return order;
}

/// As CSV has it (RFC 4180): in quotes where it holds a comma, a quote or a line's end.
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string field = "\"";
  for (const char letter : text) field += letter == '"' ? std::string("\"\"") : std::string(1, letter);
  return field + "\"";
}

/// Labels and probabilities, most probable first; or outputs and values, in the network's order.
using Row = std::vector<std::pair<size_t, float>>;

std::string as_text(const Asked& asked, const std::vector<Row>& rows) {
  std::string text;
  for (size_t i = 0; i < rows.size(); ++i) {
    text += asked.names[i] + ":";
    for (const auto& [label, value] : rows[i])
      text += asked.outputs == Outputs::values ? fmt::format("  {:.6g}", value)
                                               : fmt::format("  {} {:.2f} %", asked.classes[label], 100 * value);
    text += "\n";
  }
  return text;
}

std::string as_csv(const Asked& asked, const std::vector<Row>& rows) {
  const bool values = asked.outputs == Outputs::values;
  std::string text = values ? "image,output,value\n" : "image,place,label,class,probability\n";
  for (size_t i = 0; i < rows.size(); ++i)
    for (size_t place = 0; place < rows[i].size(); ++place) {
      const auto& [label, value] = rows[i][place];
      const std::string image = csv_field(asked.names[i]);
      text += values ? fmt::format("{},{},{}\n", image, label, value)
                     : fmt::format("{},{},{},{},{}\n", image, place + 1, label, csv_field(asked.classes[label]), value);
    }
  return text;
}

std::string as_json(const Asked& asked, const std::vector<Row>& rows) {
  Json all = Json::array();
  for (size_t i = 0; i < rows.size(); ++i) {
    const bool values = asked.outputs == Outputs::values;
    Json predictions = Json::array();
    for (const auto& [label, value] : rows[i])
      predictions.push_back(values ? Json(value)
                                   : Json{{"label", label}, {"class", asked.classes[label]}, {"probability", value}});
    all.push_back({{"image", asked.names[i]}, {values ? "outputs" : "predictions", predictions}});
  }
  return all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Asked open(const Options& options, const Trained& trained, Runtime& runtime) {
  Asked asked{.outputs = outputs_of(trained.network)};
  const auto outputs = static_cast<size_t>(trained.network.output_shape().elements());
  const size_t classes = asked.outputs == Outputs::probability_of_second ? 2 : outputs;
  asked.classes = trained.class_names;
  if (asked.outputs != Outputs::values && asked.classes.size() > classes)
    throw InputError("the model '{}' ends in {}, which tells {} classes apart, the data has {}", trained.network.name(),
                     trained.network.output_shape().str(), classes, asked.classes.size());
  if (options.files.empty()) {
    const Data data = (trained.data ? *trained.data : prepare_data(options.data, data_options(options, runtime))).data;
    asked.images = data.test ? data.test : data.validation ? data.validation : data.train;
    for (int64_t i = 0; i < asked.images->size(); ++i) asked.names.push_back(std::to_string(i));
  } else {
    if (const auto [black, white] = trained.range; black < 0 || white > 1)
      throw InputError(
          "{}: the model was trained on arrays of floats from {} to {}, image files are read as 0 to 1: give the "
          "images as such an array (--data npy:IMAGES,LABELS)",
          options.files[0], black, white);
    const Shape image = trained.network.input_shape();
    DataOptions how = data_options(options, runtime);
    how.channels = static_cast<int>(image[2]);
    how.normalise = trained.normalise;
    if (trained.data) {
      how.resize.clear();
      how.preparation = trained.data->preparation;
    }
    asked.images = prepare_files(options.files, static_cast<int>(classes), how).data.train;
    for (int64_t i = 0; i < asked.images->size(); ++i) asked.names.push_back(options.files[asked.images->key(i)]);
  }
  for (size_t label = asked.classes.size(); label < classes; ++label) asked.classes.push_back(std::to_string(label));
  return asked;
}

/// Of one image.
Row row_of(std::span<const float> predicted, Outputs outputs, int top) {
  Row row;
  if (outputs == Outputs::values) {
    for (size_t i = 0; i < predicted.size(); ++i) row.emplace_back(i, predicted[i]);
    return row;
  }
  std::vector<float> probabilities(predicted.begin(), predicted.end());
  if (outputs == Outputs::probability_of_second) probabilities.insert(probabilities.begin(), 1 - predicted[0]);
  for (const size_t label : ranked(probabilities, std::min(static_cast<size_t>(top), probabilities.size())))
    row.emplace_back(label, probabilities[label]);
  return row;
}

}  // namespace

void predict(const Options& options, Runtime& runtime) {
  const RunOptions run = run_options(options, runtime);
  const std::vector<std::string>& formats = prediction_formats();
  constexpr std::array write{as_text, as_csv, as_json};
  const size_t format = index_of("format", options.format.empty() ? formats[0] : options.format, formats);
  if (options.weights.empty()) throw InputError("--weights or --run is missing, expected trained weights");
  const Trained trained = open_trained(options, runtime);
  if (const Shape output = trained.network.output_shape(); output.rank() != 1)
    throw InputError("the model '{}' ends in {}, expected [classes]: predict names the classes of whole images",
                     trained.network.name(), output.str());
  const Asked asked = open(options, trained, runtime);
  if (options.top < 1) throw InputError("--top is {}, expected a number from 1", options.top);
  Model model(trained.network, runtime);
  model.set_weights(load_weights(options.weights, model.network()));
  const std::vector<float> predicted = model.predict(asked.images, run);
  const size_t outputs = predicted.size() / asked.names.size();
  std::vector<Row> rows;
  for (size_t i = 0; i < asked.names.size(); ++i)
    rows.push_back(row_of(std::span(predicted).subspan(i * outputs, outputs), asked.outputs, options.top));
  runtime.run_on_first([&] {
    const std::string text = write[format](asked, rows);
    if (options.output.empty())
      fmt::print("{}", text);
    else
      write_atomically(options.output, text);
  });
}

}  // namespace lockstep::cli
