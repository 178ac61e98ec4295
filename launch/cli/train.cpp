#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <optional>

#include "core/cuda/cuda.h"
#include "core/error.h"
#include "core/log.h"
#include "core/random.h"
#include "launch/cli/options.h"
#include "launch/cli/prediction.h"
#include "launch/manifest.h"
#include "launch/metrics.h"
#include "launch/progress.h"
#include "launch/weights_file.h"
#include "layers/cpu/library.h"
#include "parallel/comm/mpi.h"
#include "parallel/comm/nccl.h"

namespace lockstep::cli {

namespace {

using Json = nlohmann::ordered_json;

/// What is being trained, with all defaults resolved.
struct Job {
  const Options& options;
  const RunOptions& run;
  const PreparedData& data;
  const Model& model;
  Optimizer optimizer;
  Runtime& runtime;
  FitLength length;
  std::map<std::string, int> stages;  // by layer; only of a pipeline

  int ranks() const { return model.ranks(run); }
  int lanes() const { return run.numerics == Numerics::fast ? ranks() : run.lanes; }
};

/// A run that must share its cores is right, but slow, and its times say little.
void warn_of_shared_cores(const Job& job) {
  if (uses_cuda(job.run.backend)) return;
  const int here = job.runtime.distributed() ? job.runtime.local_size() : job.ranks();
  const int threads = job.model.threads(job.run);
  const int cores = job.runtime.cores();
  if (here * threads > cores)
    log().warn("{} ranks of {} thread{} share {} core{} on {}", here, threads, threads == 1 ? "" : "s", cores,
               cores == 1 ? "" : "s", job.runtime.hosts()[0]);
}

void print_header(const Job& job) {
  // By their number of ranks: a cluster's list of a host a rank would fill the screen.
  std::map<std::string, int> ranks_on;
  for (const std::string& host : job.runtime.hosts()) ++ranks_on[host];
  std::vector<std::string> hosts;
  for (const auto& [host, ranks] : ranks_on)
    hosts.push_back(job.runtime.distributed() ? fmt::format("{} ({})", host, ranks) : host);
  const Network& network = job.model.network();
  fmt::print("ranks {} ({}), hosts {}\n", job.ranks(), job.runtime.distributed() ? "mpi" : "threads of one process",
             fmt::join(hosts, ", "));
  if (uses_cuda(job.run.backend)) {
    std::vector<std::string> names;
    for (const CudaDevice& device : cuda_devices()) names.push_back(device.name);
    fmt::print("backend cuda ({}; CUDA {}), precision {}\n", fmt::join(names, ", "), cuda_status().runtime,
               job.options.precision);
  } else {
    fmt::print("backend cpu (CUDA: {}), {} thread{} a rank\n", cuda_status().text, job.model.threads(job.run),
               job.model.threads(job.run) == 1 ? "" : "s");
  }
  fmt::print("model {}, {} parameters\n", network.name(), network.parameters());
  fmt::print("data {}, {} training and {} test images of {}\n", job.options.data, job.data.data.train->size(),
             job.data.data.test ? job.data.data.test->size() : 0, job.data.data.train->image_shape().str());
  fmt::print("strategy {}, batch {}, lanes {}, numerics {}, seed {}\n\n", job.options.strategy, job.run.batch,
             job.lanes(), job.options.numerics, job.run.seed);
}

Json optimizer_json(const Optimizer& optimizer) {
  if (const SGD* sgd = optimizer.sgd())
    return {{"name", "sgd"},
            {"lr", sgd->lr},
            {"momentum", sgd->momentum},
            {"nesterov", sgd->nesterov},
            {"weight_decay", sgd->weight_decay}};
  const Adam& adam = *optimizer.adam();
  return {{"name", "adam"},        {"lr", adam.lr},           {"beta_1", adam.beta_1},
          {"beta_2", adam.beta_2}, {"epsilon", adam.epsilon}, {"weight_decay", adam.weight_decay}};
}

/// The mesh and its pins, as a strategy's file has them.
Json strategy_json(const Strategy& strategy) {
  Json mesh = Json::object(), pins = Json::array();
  for (size_t axis = 1; axis < strategy.mesh.size(); ++axis) mesh[strategy.mesh[axis].name] = strategy.mesh[axis].size;
  for (const Pin& pin : strategy.pins) {
    Json place;
    for (const auto& [axis, cut] : pin.place) place[axis] = cut ? cut_names()[static_cast<size_t>(*cut)] : "whole";
    if (pin.stage) place["stage"] = *pin.stage;
    pins.push_back({{"layers", pin.layers}, {"place", place}});
  }
  return {{"mesh", mesh}, {"pins", pins}};
}

Json configuration(const Job& job) {
  const Options& o = job.options;
  return {{"model", o.model},
          {"data", o.data},
          {"resize", o.resize},
          {"normalise", o.normalise},
          {"batch", o.batch},
          {"epochs", job.length.epochs},
          {"steps", job.length.steps},
          {"optimizer", optimizer_json(job.optimizer)},
          {"schedule", o.schedule},
          {"warmup", o.warmup},
          {"augment", o.augment},
          {"shuffle", true},
          {"check_finite", o.check_finite},
          {"lanes", job.lanes()},
          {"numerics", o.numerics},
          {"strategy", o.strategy},
          {"split", strategy_json(job.run.strategy)},
          {"pipeline", job.stages.empty() ? "" : name_of(job.run.strategy.schedule)},
          {"stages", job.stages},
          {"shard_optimizer", o.shard_optimizer},
          {"recompute", o.recompute},
          {"seed", o.seed},
          {"ranks", job.ranks()},
          {"threads", job.model.threads(job.run)},
          {"backend", uses_cuda(job.run.backend) ? "cuda" : "cpu"},
          {"precision", o.precision},
          {"comm", o.comm},
          {"engines", o.engines}};
}

void describe(const Job& job, Json& text) {
  text["configuration"] = configuration(job);
  text["hosts"] = job.runtime.hosts();
  text["system"]["cores"] = job.runtime.cores();
  text["system"]["gpus"] = Json::array();
  for (const CudaDevice& device : cuda_devices())
    text["system"]["gpus"].push_back({{"name", device.name}, {"pci", device.pci}, {"bytes", device.memory}});
  Json seeds = Json::array();  // as text: 64 bits are more than most readers' numbers hold
  for (int rank = 0; rank < job.ranks(); ++rank) seeds.push_back(std::to_string(Seed{job.run.seed}.for_rank(rank)));
  text["rank_seeds"] = seeds;
  text["network"] = Json::parse(network_to_json(job.model.network()));
  Json data{{"train_sha256", job.data.data.train->content_sha256()}, {"train_samples", job.data.data.train->size()}};
  if (job.data.data.test) {
    data["test_sha256"] = job.data.data.test->content_sha256();
    data["test_samples"] = job.data.data.test->size();
  }
  if (job.data.normalisation) {
    data["mean"] = job.data.normalisation->mean;
    data["std"] = job.data.normalisation->std;
  }
  text["data"] = data;
}

}  // namespace

void train(const Options& options, Runtime& runtime) {
  const RunOptions run = run_options(options, runtime);
  const Optimizer chosen = optimizer(options);
  const Schedule decay = schedule(options);
  const Augmentation augmentation = Augmentation::parse(options.augment);
  const PreparedData data = prepare_data(options.data, {options.resize, options.normalise});
  const Data& sets = data.data;
  Model model(network(options, sets.train->image_shape(), sets.train->classes()), runtime);
  model.compile({.optimizer = chosen});
  // Most of what can be refused is refused before a folder is made; planning the step may refuse more.
  FitOptions fit{
      .epochs = options.epochs, .steps = options.steps, .augmentation = augmentation, .schedule = decay, .run = run};
  const FitLength length = model.check(*sets.train, fit);
  if (options.predict) check_predictable(run, runtime, length.steps);
  const Strategy placed = with_stages(model.network(), run.step(), model.ranks(run));
  const Job job{options, run, data, model, chosen, runtime, length, placed.layer_stages};

  const bool speaks = runtime.rank() == 0;
  const bool records = speaks && !options.out.empty();
  std::optional<Manifest> manifest;
  std::optional<MetricsWriter> metrics;
  if (!options.out.empty())
    runtime.run_on_first([&] {
      prepare_run_directory(options.out);
      metrics.emplace(options.out + "/metrics.jsonl");
      manifest.emplace(Json{{"onednn", onednn_version()},
                            {"onednn_isa", onednn_isa()},
                            {"mpi", mpi_library_version()},
                            {"cuda", cuda_status().text},
                            {"cudnn", cudnn_version()},
                            {"cublas", cublas_version()},
                            {"nccl", nccl_version()}});
      describe(job, manifest->json());
      manifest->write(options.out);
    });
  if (speaks) warn_of_shared_cores(job);
  if (speaks && !options.quiet) print_header(job);

  Progress progress({.quiet = options.quiet, .steps = length.steps});
  bool begun = false;
  StepTimes times;
  fit.on_step = [&](const Report& report) {
    begun = true;
    times.ended();
    if (metrics) metrics->step(report);
    progress.step(report);
  };
  fit.on_epoch = [&](const Report& report) {
    if (metrics) metrics->epoch(report);
    progress.epoch(report);
  };
  History history;
  std::optional<Prediction> predicted;
  try {
    if (options.predict) predicted = predict_run(runtime, model, run, chosen);
    history = model.fit(sets.train, fit);
  } catch (const InputError&) {
    if (records && !begun) discard_run_directory(options.out);
    throw;
  }

  Json result{{"steps", history.steps}};
  if (!history.epochs.empty()) {
    result["train_loss"] = history.epochs.back().loss;
    result["train_accuracy"] = history.epochs.back().accuracy;
    result["images_per_second"] = history.epochs.back().images_per_second;
  }
  if (sets.test) {
    const Evaluation test = model.evaluate(sets.test, run);
    result["loss"] = test.loss;
    result["accuracy"] = test.accuracy;
    if (speaks) fmt::print("test accuracy {:.2f} %\n", 100 * test.accuracy);
  }
  result["weights_sha256"] = model.weights_sha256();
  if (speaks) fmt::print("weights sha256 {}\n", model.weights_sha256());
  if (predicted) fmt::print("{}\n", prediction_text(*predicted, times.median()));
  if (!records) return;
  if (predicted) manifest->json()["prediction"] = prediction_json(*predicted, times.median());
  if (!model.engines().empty()) write_atomically(options.out + "/engines.json", model.engines());
  write_weights(options.out + "/weights.safetensors", model.network(), model.weights());
  manifest->json()["communicator"] = model.exchange();
  manifest->json()["result"] = result;
  manifest->write(options.out);
}

}  // namespace lockstep::cli
