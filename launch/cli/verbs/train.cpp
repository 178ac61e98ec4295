#include <fmt/format.h>

#include <optional>

#include "core/error.h"
#include "core/log.h"
#include "launch/cli/options/options.h"
#include "launch/cli/verbs/estimate.h"
#include "launch/cli/verbs/job.h"
#include "launch/cli/verbs/resume.h"
#include "launch/cli/verbs/verbs.h"
#include "launch/files/durable.h"
#include "launch/host/stop.h"
#include "launch/record/folder_lock.h"
#include "launch/record/manifest.h"
#include "launch/record/metrics.h"
#include "launch/record/progress.h"
#include "launch/record/weights_file.h"

namespace lockstep::cli {

using Json = nlohmann::ordered_json;

/// A number, or an array of them.
static Json metric_json(const std::vector<double>& values) {
  return values.size() == 1 ? Json(values[0]) : Json(values);
}

void train(const Options& given, Runtime& runtime) {
  const std::optional<Resumed> from = resumed(given);
  Options options = given;
  options.out = run_folder(given, from);
  const RunOptions run = run_options(options, runtime);
  const Optimizer chosen = optimizer(options);
  const Schedule decay = schedule(options);
  const Augmentation augmentation = Augmentation::parse(options.augment);
  const PreparedData data = prepare_data(options.data, data_options(options, runtime));
  const Data& sets = data.data;
  Model model(network(options, sets.train->image_shape(), sets.train->classes()), runtime);
  model.compile({.optimizer = chosen, .loss = loss_of_data(options), .metrics = metrics(options)});
  // Most of what can be refused is refused before a folder is made; planning the step may refuse more.
  FitOptions fit{
      .epochs = options.epochs, .steps = options.steps, .augmentation = augmentation, .schedule = decay, .run = run};
  fit.validation_data = sets.validation;
  fit.callbacks = callbacks(options, sets.validation != nullptr, from.has_value());
  fit.checkpoints = checkpoints(options);
  const auto [length, resolved] = model.check(*sets.train, fit);
  if (from) resume(model, *from, *sets.train, fit, options);
  const int64_t done = model.steps_resumed();
  if (options.estimate) check_estimable(run, runtime, length.steps);
  const Job job{options, run, resolved, data, model, chosen, runtime, length};

  const bool speaks = runtime.rank() == 0;
  const bool records = speaks && !options.out.empty();
  // From here on a signal ends the run in an orderly way, so that the lock is given back.
  StopSignals signals;
  std::optional<FolderLock> lock;
  std::optional<Manifest> manifest;
  std::optional<MetricsWriter> metrics;
  runtime.run_on_first([&] {
    if (!options.out.empty()) lock.emplace(options.out);
    prepare_folders(options, fit.checkpoints, from, done, done % length.steps_per_epoch != 0);
  });
  if (!options.out.empty())
    runtime.run_on_first([&] {
      metrics.emplace(options.out + "/metrics.jsonl", AppendFile::If::exists_append);
      manifest.emplace();
      describe(job, manifest->json());
      if (from) note_resumed(manifest->json(), options.out, *from, done);
      manifest->write(options.out);
    });
  if (speaks) warn_of_shared_cores(job);
  if (speaks && options.cache && augmentation.resized_crop > 0)
    log().warn("--cache keeps no training images: --augment resized_crop decodes another part of each every time");
  if (speaks && !options.quiet) print_header(job);
  if (speaks && from && !options.quiet)
    fmt::print("goes on from {} after step {} of {}\n\n", from->checkpoint.string(), done, length.steps);

  Progress progress({.quiet = options.quiet, .steps = length.steps, .first_step = done});
  bool begun = false;
  StepTimes times;
  const auto step_ended = [&](Training&, const Report& report) {
    begun = true;
    times.ended();
    if (metrics) metrics->step(report);
    progress.step(report);
  };
  const auto epoch_ended = [&](Training&, const Report& report) {
    if (metrics) metrics->epoch(report);
    progress.epoch(report);
  };
  const auto validated = [&](Training&, const Report& report, int64_t step, int64_t steps) {
    progress.validation(report, step, steps);
  };
  fit.callbacks.push_back(lambda_callback({.on_epoch_end = epoch_ended,
                                           .on_step_end = step_ended,
                                           .on_validation_step = validated,
                                           .acts = Callback::Acts::never}));
  fit.stop_requested = StopSignals::requested;
  History history;
  std::optional<StepEstimate> estimated;
  try {
    if (options.estimate) estimated = estimate_run(runtime, model, resolved, chosen);
    history = model.fit(sets.train, fit);
  } catch (const InputError&) {
    if (records && !begun && !from) discard_run_directory(options.out);
    throw;
  }

  if (history.interrupted) {
    const Interruption interruption(fit.checkpoints, history.steps);
    if (speaks) fmt::print("{}\n", interruption.text(length.steps));
    if (records) {
      manifest->json()["interrupted"] = interruption.json();
      manifest->write(options.out);
    }
    return signals.ignore();
  }

  Json result{{"steps", history.steps}};
  if (const auto last = history.epochs.empty() ? history.last_before : history.epochs.back()) {
    result["train_loss"] = last->loss;
    for (const auto& [name, values] : last->metrics) result["train_" + name] = metric_json(values);
    if (!history.epochs.empty()) result["images_per_second"] = last->images_per_second;
  }
  if (const auto& tested = sets.test ? sets.test : sets.validation) {
    const Evaluation test = model.evaluate(tested, run);
    result["loss"] = test.loss;
    for (const auto& [name, values] : test.metrics) result[name] = metric_json(values);
    if (speaks) print_metrics(sets.test ? "test" : "validation", test.metrics);
  }
  result["weights_sha256"] = model.weights_sha256();
  if (speaks) fmt::print("weights sha256 {}\n", model.weights_sha256());
  if (speaks) fmt::print("{}", model.profiled());
  if (estimated) fmt::print("{}\n", estimate_text(*estimated, times.median()));
  if (!records) return signals.ignore();
  if (estimated) manifest->json()["estimate"] = estimate_json(*estimated, times.median());
  if (!model.engines().empty()) write_atomically(options.out + "/engines.json", model.engines());
  write_weights(options.out + "/weights.safetensors", model.network(), model.weights());
  manifest->json()["communicator"] = model.exchange();
  manifest->json()["result"] = result;
  manifest->write(options.out);
  signals.ignore();
}

}  // namespace lockstep::cli
