#include "launch/cli/verbs/job.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/log.h"
#include "core/random.h"
#include "launch/backends/backends.h"
#include "launch/cli/options/options.h"
#include "launch/model/fit_configuration.h"

namespace lockstep::cli {

namespace {

using Json = nlohmann::ordered_json;

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

template <class Value>
Json option_json(const Value& value) {
  if constexpr (std::is_enum_v<Value>)
    return name_of(value);
  else if constexpr (std::is_same_v<Value, std::filesystem::path>)
    return value.string();
  else
    return value;
}

/// All options with the values that they came to; what has several numbers of its own is an object.
Json configuration(const Job& job) {
  const Options& o = job.options;
  const Strategy& strategy = job.run.step.strategy;
  Json text = Json::object();
  for (const std::string* part : {&o.settings, &o.unset}) {
    const Json options = Json::parse(*part);
    for (const auto& [option, value] : options.items()) {
      std::string key = option;
      std::ranges::replace(key, '-', '_');
      text[key] = value;
    }
  }
  RunOptions::describe(o.computing, [&](std::string_view option, const auto& value, std::string_view) {
    text[std::string(option)] = option_json(value);
  });
  for (const auto& numbers : {o.optimizer_options, o.schedule_options})  // in their objects
    for (const auto& [option, value] : numbers) text.erase(option);
  text["optimizer"] = optimizer_json(job.optimizer);
  text["schedule"] = schedule_json(schedule(o));
  text.erase("out");
  text["metrics"] = o.metrics;
  text["shuffle"] = true;
  text["split"] = strategy_json(strategy);
  text["pipeline"] = strategy.layer_stages.empty() ? "" : name_of(strategy.schedule);
  text["stages"] = strategy.layer_stages;
  // What was left open.
  text["epochs"] = job.length.epochs;
  text["steps"] = job.length.steps;
  text["ranks"] = job.run.ranks;
  text["workers"] = job.run.workers;
  text["lanes"] = job.run.lanes;
  text["threads"] = job.run.threads;
  text["backend"] = backend_of(o.computing.backend).name;
  return text;
}

}  // namespace

void warn_of_shared_cores(const Job& job) {
  if (job.run.gpus) return;
  const int here = job.runtime.distributed() ? job.runtime.local_size() : job.run.ranks;
  const int threads = job.run.threads;
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
  fmt::print("ranks {} ({}), hosts {}\n", job.run.ranks, job.runtime.distributed() ? "mpi" : "threads of one process",
             fmt::join(hosts, ", "));
  if (const BackendRow& row = backend_of(job.options.computing.backend); job.run.gpus) {
    std::vector<std::string> names;
    for (const DeviceInfo& device : row.kind().devices()) names.push_back(device.name);
    fmt::print("backend {} ({}; {} {}), precision {}\n", row.name, fmt::join(names, ", "), row.title,
               row.kind().status().runtime, name_of(job.options.computing.precision));
  } else {
    fmt::print("backend cpu ({}), {} thread{} a rank\n", gpu_status(), job.run.threads,
               job.run.threads == 1 ? "" : "s");
  }
  fmt::print("model {}, {} parameters\n", network.name(), network.parameters());
  const Data& sets = job.data.data;
  fmt::print("data {}, {} training and {} test images of {}\n", job.options.data, sets.train->size(),
             sets.test ? sets.test->size() : 0, sets.train->image_shape().str());
  if (sets.validation) fmt::print("validation of each epoch on {} images\n", sets.validation->size());
  fmt::print("strategy {}, batch {}, lanes {}, numerics {}, seed {}\n\n", job.options.strategy, job.run.step.batch,
             job.run.lanes, name_of(job.options.computing.numerics), job.given.seed);
}

void describe(const Job& job, nlohmann::ordered_json& text) {
  text["configuration"] = configuration(job);
  text["options"] = Json::parse(job.options.settings);
  text["options"].erase("out");  // so that the run can be repeated from this file: its folder is there now
  text["hosts"] = job.runtime.hosts();
  text["system"]["cores"] = job.runtime.cores();
  text["system"]["gpus"] = Json::array();
  for (const DeviceInfo& device : gpus())
    text["system"]["gpus"].push_back({{"name", device.name}, {"pci", device.pci}, {"bytes", device.memory}});
  Json seeds = Json::array();  // as text: 64 bits are more than most readers' numbers hold
  for (int rank = 0; rank < job.run.ranks; ++rank) seeds.push_back(std::to_string(Seed{job.given.seed}.for_rank(rank)));
  text["rank_seeds"] = seeds;
  text["network"] = Json::parse(network_to_json(job.model.network()));
  Json data{{"train_sha256", job.data.data.train->content_sha256()}, {"train_samples", job.data.data.train->size()}};
  if (job.data.data.test) {
    data["test_sha256"] = job.data.data.test->content_sha256();
    data["test_samples"] = job.data.data.test->size();
  }
  if (job.data.data.validation) {
    data["validation_sha256"] = job.data.data.validation->content_sha256();
    data["validation_samples"] = job.data.data.validation->size();
  }
  if (!job.data.data.class_names.empty()) data["class_names"] = job.data.data.class_names;
  data["preparation"] = to_json(job.data.preparation);
  if (job.data.normalisation) {
    data["mean"] = job.data.normalisation->mean;
    data["std"] = job.data.normalisation->std;
  }
  const auto [black, white] = job.data.data.train->range();
  if (std::isfinite(black)) data["range"] = {black, white};
  text["data"] = data;
}

}  // namespace lockstep::cli
