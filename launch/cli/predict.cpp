// Labels and probabilities of images. All ranks compute; rank 0 writes.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/error.h"
#include "launch/checkpoint.h"
#include "launch/cli/trained.h"
#include "launch/cli/verbs.h"
#include "launch/data/image_files.h"
#include "launch/durable.h"

namespace lockstep::cli {

namespace {

using Json = nlohmann::ordered_json;

/// What is predicted, and what its classes are called.
struct Asked {
  std::shared_ptr<const Dataset> images;
  std::vector<std::string> names;    // of the images; numbers where they have none
  std::vector<std::string> classes;  // by label
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

using Row = std::vector<std::pair<size_t, float>>;  // labels and probabilities, most probable first

std::string as_text(const Asked& asked, const std::vector<Row>& rows) {
  std::string text;
  for (size_t i = 0; i < rows.size(); ++i) {
    text += asked.names[i] + ":";
    for (const auto& [label, probability] : rows[i])
      text += fmt::format("  {} {:.2f} %", asked.classes[label], 100 * probability);
    text += "\n";
  }
  return text;
}

std::string as_csv(const Asked& asked, const std::vector<Row>& rows) {
  std::string text = "image,rank,label,class,probability\n";
  for (size_t i = 0; i < rows.size(); ++i)
    for (size_t rank = 0; rank < rows[i].size(); ++rank) {
      const auto& [label, probability] = rows[i][rank];
      text += fmt::format("{},{},{},{},{}\n", csv_field(asked.names[i]), rank + 1, label,
                          csv_field(asked.classes[label]), probability);
    }
  return text;
}

std::string as_json(const Asked& asked, const std::vector<Row>& rows) {
  Json all = Json::array();
  for (size_t i = 0; i < rows.size(); ++i) {
    Json predictions = Json::array();
    for (const auto& [label, probability] : rows[i])
      predictions.push_back({{"label", label}, {"class", asked.classes[label]}, {"probability", probability}});
    all.push_back({{"image", asked.names[i]}, {"predictions", predictions}});
  }
  return all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Asked open(const Options& options, const Trained& trained, Runtime& runtime) {
  const auto classes = static_cast<size_t>(trained.network.output_shape().elements());
  Asked asked;
  asked.classes = trained.class_names;
  if (options.files.empty()) {
    const Data data = (trained.data ? *trained.data : prepare_data(options.data, data_options(options, runtime))).data;
    asked.images = data.test ? data.test : data.validation ? data.validation : data.train;
    for (int64_t i = 0; i < asked.images->size(); ++i) asked.names.push_back(std::to_string(i));
  } else {
    const Shape image = trained.network.input_shape();
    DataOptions how = data_options(options, runtime);
    how.channels = static_cast<int>(image[2]);
    ImageReading reading = image_reading(how);
    reading.size = {image[0], image[1]};
    asked.images = open_image_files(options.files, static_cast<int>(classes), reading);
    if (const auto by = parse_normalisation(trained.normalise, *asked.images))
      asked.images = normalised(asked.images, *by);
    asked.names = options.files;
  }
  for (size_t label = asked.classes.size(); label < classes; ++label) asked.classes.push_back(std::to_string(label));
  return asked;
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
  const auto classes = asked.classes.size();
  if (options.top < 1) throw InputError("--top is {}, expected a number from 1", options.top);
  const size_t top = std::min(static_cast<size_t>(options.top), classes);
  Model model(trained.network, runtime);
  model.set_weights(load_weights(options.weights, model.network()));
  const std::vector<float> probabilities = model.predict(asked.images, run);
  std::vector<Row> rows;
  for (size_t i = 0; i < asked.names.size(); ++i) {
    const auto of_image = std::span(probabilities).subspan(i * classes, classes);
    Row& row = rows.emplace_back();
    for (const size_t label : ranked(of_image, top)) row.emplace_back(label, of_image[label]);
  }
  runtime.run_on_first([&] {
    const std::string text = write[format](asked, rows);
    if (options.output.empty())
      fmt::print("{}", text);
    else
      write_atomically(options.output, text);
  });
}

}  // namespace lockstep::cli
