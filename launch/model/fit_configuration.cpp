#include "launch/model/fit_configuration.h"

#include "launch/record/metrics.h"

namespace lockstep {

using Json = nlohmann::ordered_json;

namespace {

Json augmentation_json(const Augmentation& augmentation) {
  // All members by name: a new one does not compile until it is here, too.
  const auto& [crop, flip, rotate, zoom, vertical_flip, shear, translate, brightness, contrast, saturation, hue, cutout,
               erase, resized_crop, mix] = augmentation;
  return {{"crop", crop},
          {"flip", flip},
          {"rotate", rotate},
          {"zoom", zoom},
          {"vertical_flip", vertical_flip},
          {"shear", shear},
          {"translate", translate},
          {"brightness", brightness},
          {"contrast", contrast},
          {"saturation", saturation},
          {"hue", hue},
          {"cutout", cutout},
          {"erase", erase},
          {"resized_crop", resized_crop},
          {"mixup", mix.mixup},
          {"cutmix", mix.cutmix}};
}

}  // namespace

Json optimizer_json(const Optimizer& optimizer) {
  Json json{{"name", optimizer.name()}};
  optimizer.options([&](std::string_view key, auto value) {
    if constexpr (std::is_same_v<decltype(value), float>)
      json[std::string(key)] = Json::parse(json_number(value));  // 0.1, not what is nearest to it in single precision
    else
      json[std::string(key)] = value;
  });
  return json;
}

Json schedule_json(const Schedule& schedule) {
  Json json{{"name", schedule.name()}};
  schedule.options([&](std::string_view key, auto value) { json[std::string(key)] = value; });
  return json;
}

Json fit_configuration(const Network& network, const CompileOptions& compiled, const Dataset& data,
                       const FitOptions& options, const FitLength& length, int lanes, int threads) {
  const RunOptions& run = options.run;
  Json metrics = Json::array();  // their sums are part of an epoch that is under way
  for (const Metric& metric : compiled.metrics) metrics.push_back(metric.name());
  Json schedule = schedule_json(options.schedule);
  if (options.schedule.depends_on_steps()) schedule["steps"] = length.steps;
  Json validation;
  if (options.validation_data)
    validation = {{"sha256", options.validation_data->content_sha256()}, {"freq", options.validation_freq}};
  Json callbacks = Json::array();
  for (const auto& callback : options.callbacks)
    if (std::string text = callback->decides_by(); !text.empty()) callbacks.push_back(std::move(text));
  return {{"model", network.name()},
          {"data", {{"sha256", data.content_sha256()}, {"samples", data.size()}}},
          {"validation", validation},
          {"seed", std::to_string(run.seed)},  // as text: 64 bits are more than most readers' numbers hold
          {"batch", run.batch},
          {"lanes", lanes},
          {"numerics", run.numerics == Numerics::fast ? "fast" : "reproducible"},
          {"threads", threads},
          {"precision", name_of(run.precision)},
          {"optimizer", optimizer_json(compiled.optimizer)},
          {"loss", compiled.loss.str()},
          {"metrics", metrics},
          {"schedule", schedule},
          {"augmentation", augmentation_json(options.augmentation)},
          {"shuffle", options.shuffle},
          {"callbacks", callbacks},
          {"network", Json::parse(network_to_json(network))}};
}

}  // namespace lockstep
