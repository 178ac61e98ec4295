// How the work is shared out and computed: ranks, lanes, strategy, devices, precision.
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>

#include "core/error.h"
#include "core/log.h"
#include "launch/backends/backends.h"
#include "launch/cli/options/options.h"
#include "launch/plan/strategy_file.h"

namespace lockstep::cli {

namespace {

/// Adds one option of RunOptions to a command: its form follows from its type.
class AddOption {
 public:
  AddOption(CLI::App& verb, std::string_view name, std::string_view help) : verb_(verb), name_(name), help_(help) {
    std::ranges::replace(name_, '_', '-');
  }
  void operator()(bool& value) const { verb_.add_flag("--" + name_, value, help_); }
  void operator()(int64_t& value) const { verb_.add_option("--" + name_, value, help_)->capture_default_str(); }
  /// 0, which cannot be given, is that the run chooses.
  void operator()(int& value) const {
    CLI::Option* option = verb_.add_option_function<int>(
        "--" + name_,
        [&value, name = name_, chosen = value == 0](int given) {
          if (chosen && given < 1) throw InputError("--{} is {}, expected a number from 1", name, given);
          value = given;
        },
        help_);
    if (value != 0) option->default_str(std::to_string(value));
  }
  void operator()(uint64_t& value) const {
    verb_.add_option("--" + name_, value, help_)->capture_default_str()->check([](const std::string& text) {
      return text.starts_with("-") ? "expected a number from 0" : "";
    });
  }
  void operator()(std::vector<std::string>& value) const {
    verb_.add_option("--" + name_, value, help_)->delimiter(',');
  }
  void operator()(std::filesystem::path& value) const {
    verb_
        .add_option_function<std::string>(
            "--" + name_, [&value](const std::string& given) { value = given; }, help_)
        ->type_name("FILE");
  }
  void operator()(Numerics& value) const {
    choice(value, numerics_names(),
           [](const std::string& name) { return static_cast<Numerics>(index_of("numerics", name, numerics_names())); });
  }
  void operator()(BackendChoice& value) const { choice(value, backend_names(), backend_from_name); }
  void operator()(CommChoice& value) const { choice(value, comm_names(), comm_from_name); }
  void operator()(Precision& value) const { choice(value, precision_names(), precision_from_name); }

 private:
  template <class Choice, class FromName>
  void choice(Choice& value, const std::vector<std::string>& names, FromName from_name) const {
    verb_
        .add_option_function<std::string>(
            "--" + name_, [&value, from_name](const std::string& given) { value = from_name(given); }, help_)
        ->type_name(alternatives(names))
        ->default_str(name_of(value));
  }

  CLI::App& verb_;
  std::string name_, help_;
};

/// Those of other topics than computing, each of which says so.
constexpr std::array of_other_topics{"workers", "check_finite", "profile"};

}  // namespace

const std::vector<std::string>& numerics_names() {
  static const std::vector<std::string> names{"reproducible", "fast"};
  return names;
}
std::string name_of(Numerics numerics) { return numerics_names()[static_cast<size_t>(numerics)]; }
std::string name_of(BackendChoice backend) { return backend_names()[static_cast<size_t>(backend)]; }
std::string name_of(CommChoice comm) { return comm_names()[static_cast<size_t>(comm)]; }

void add_run_option(CLI::App& verb, RunOptions& run, std::string_view name) {
  RunOptions::describe(run, [&](std::string_view option, auto& value, std::string_view help) {
    if (option == name) AddOption(verb, option, help)(value);
  });
}

std::string alternatives(const std::vector<std::string>& names) { return fmt::format("{}", fmt::join(names, "|")); }

void add_rank_options(CLI::App& verb, Options& options) {
  verb.option_defaults()->group("Ranks");
  verb.add_option("--ranks", options.ranks, "Ranks as threads of this process; not with mpirun")
      ->type_name("auto|N")
      ->capture_default_str();
  verb.add_option("--log", options.log, "What to say on stderr, from this on")
      ->type_name(alternatives(log_levels()))
      ->capture_default_str();
}

void add_run_options(CLI::App& verb, Options& options) {
  add_rank_options(verb, options);
  verb.option_defaults()->group("Computing");
  RunOptions::describe(options.computing, [&](std::string_view option, auto& value, std::string_view help) {
    if (std::ranges::find(of_other_topics, option) == of_other_topics.end()) AddOption(verb, option, help)(value);
  });
  verb.add_option("--strategy", options.strategy,
                  "How work is split over ranks: by axes such as data=2,space_h=2, or as a JSON file with pins has it")
      ->type_name("data|data=N|space_h=N|space_w=N|filter=N|channel=N|stage=N|FILE")
      ->capture_default_str();
  verb.add_option("--pipeline", options.pipeline,
                  "When a stage runs which lane; by default 1f1b, with few lanes in flight; the bits are the same")
      ->type_name(alternatives(pipeline_schedule_names()));
  verb.add_flag(
      "--shard-optimizer", options.shard_optimizer,
      "Each rank along the data axis keeps its part of the optimizer's variables alone; the bits are the same");
}

void add_compute_options(CLI::App& verb, Options& options) {
  verb.option_defaults()->group("Computing");
  add_run_option(verb, options.computing, "check_finite");
}

RunOptions run_options(const Options& options, const Runtime& runtime) {
  set_log_level(options.log);
  RunOptions run = options.computing;
  run.strategy = read_strategy(options.strategy);
  run.strategy.shard_optimizer = options.shard_optimizer;
  if (!options.pipeline.empty()) {
    run.strategy.schedule = schedule_from_name(options.pipeline);
    if (!run.strategy.stage_axis())
      throw InputError("--pipeline {}: the strategy '{}' has no stages, expected such as --strategy stage=2",
                       options.pipeline, options.strategy);
  }
  accumulate(options, run);
  if (options.ranks != "auto") {
    constexpr int most = 4096;  // more threads than one process gets by with
    const char* end = options.ranks.data() + options.ranks.size();
    const auto [stopped, error] = std::from_chars(options.ranks.data(), end, run.ranks);
    if (error != std::errc{} || stopped != end || run.ranks < 1 || run.ranks > most)
      throw InputError("--ranks is '{}', expected auto or a number from 1 to {}", options.ranks, most);
    if (runtime.distributed() && run.ranks != runtime.size())
      throw InputError("--ranks is {}, but mpirun started {} ranks; leave --ranks out", run.ranks, runtime.size());
  }
  if (const bool gpus = uses_gpus(run.backend); !gpus && run.precision != Precision::fp32)
    throw InputError("--precision {}: the CPU computes in fp32; expected a GPU ({})", name_of(run.precision),
                     run.backend == BackendChoice::cpu ? "--backend is cpu" : gpu_status());
  else if (!gpus && run.comm == CommChoice::nccl)
    throw InputError("--comm nccl: the ranks compute on the CPU, expected GPUs");
  else if (!gpus && !run.engines.empty())
    throw InputError("--engines '{}': the ranks compute on the CPU, which has none to choose; expected GPUs",
                     run.engines.string());
  const int64_t here = runtime.distributed() ? runtime.local_size() : std::max(run.ranks, 1);
  if (!runtime.distributed()) runtime.check_threads("--ranks", run.ranks, run.ranks);
  runtime.check_threads("--threads", run.threads, here * run.threads);
  runtime.check_threads("--workers", run.workers, here * run.workers);
  return run;
}

}  // namespace lockstep::cli
