#include "launch/callbacks/model_checkpoint.h"

#include <fmt/args.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "launch/record/weights_file.h"

namespace lockstep {

ModelCheckpoint::ModelCheckpoint(std::string path, ModelCheckpointOptions options)
    : path_(std::move(path)),
      options_(std::move(options)),
      monitor_("ModelCheckpoint", options_.monitor, options_.mode, 0) {
  if (options_.period < 1)
    throw InputError("ModelCheckpoint: period is {}, expected a number of epochs from 1", options_.period);
}

std::string ModelCheckpoint::path_of(int64_t epoch, const Measured& measured) const {
  fmt::dynamic_format_arg_store<fmt::format_context> names;
  names.push_back(fmt::arg("epoch", epoch + 1));
  for (const auto& [name, value] : measured) names.push_back(fmt::arg(name.c_str(), value));
  try {
    return fmt::vformat(path_, names);
  } catch (const fmt::format_error& error) {
    throw InputError("ModelCheckpoint: the path '{}' cannot be formatted: {}; expected {{epoch}} and names of measures",
                     path_, error.what());
  }
}

void ModelCheckpoint::on_train_begin(Training& training) {
  network_ = &training.network();
  best_.reset();
  best_weights_.clear();
  written_.clear();
  checked_ = false;
}

void ModelCheckpoint::on_step_end(Training& training, const Report& report) {
  if (checked_) return;
  checked_ = true;
  if (options_.save_best_only) monitor_.check(training, report);
  Report epoch = report;
  // A validation measures what a step does.
  if (training.validates()) epoch.validation = Evaluation{.loss = report.loss, .metrics = report.metrics};
  const std::filesystem::path path = path_of(epoch.epoch, measures(epoch));
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path());
}

void ModelCheckpoint::on_epoch_end(Training& training, const Report& report) {
  if ((report.epoch + 1) % options_.period != 0) return;
  if (options_.save_best_only) {
    const auto value = monitor_.of(report);
    if (!value || !monitor_.better(*value, best_)) return;
    best_ = value;
  }
  const std::string path = path_of(report.epoch, measures(report));
  Weights weights = training.weights();
  write_weights(path, training.network(), weights);
  written_ = path;
  if (!options_.save_best_only) return;
  best_weights_ = std::move(weights);
  best_epoch_ = report.epoch;
  best_measured_ = measures(report);
}

CallbackState ModelCheckpoint::state() const {
  nlohmann::json measured = nlohmann::json::object();
  for (const auto& [name, value] : best_measured_) measured[name] = measure_json(value);
  const nlohmann::json json{
      {"best", measure_json(best_)}, {"written", written_}, {"epoch", best_epoch_}, {"measured", measured}};
  return {json.dump(), best_weights_};
}

void ModelCheckpoint::restore(const CallbackState& state) {
  const auto json = nlohmann::json::parse(state.text);
  best_ = measure_of(json.at("best"));
  written_ = json.at("written").get<std::string>();
  if (state.weights.empty()) return;
  best_weights_ = state.weights;
  best_epoch_ = json.at("epoch").get<int64_t>();
  best_measured_.clear();
  for (const auto& [name, value] : json.at("measured").items()) best_measured_.emplace_back(name, *measure_of(value));
  const std::filesystem::path path = path_of(best_epoch_, best_measured_);
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path());
  write_weights(path.string(), *network_, best_weights_);
  written_ = path.string();
}

}  // namespace lockstep
