// How the work is shared out and computed: ranks, lanes, strategy, devices, precision.
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>
#include <charconv>

#include "core/cuda/cuda.h"
#include "core/error.h"
#include "core/log.h"
#include "launch/cli/options/options.h"
#include "launch/plan/strategy_file.h"

namespace lockstep::cli {

namespace {
const std::vector<std::string> numerics_names{"reproducible", "fast"};
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
  verb.add_option("--batch", options.batch, "Samples in a global batch, over all ranks")->capture_default_str();
  verb.add_option("--lanes", options.lanes, "Parts of the global batch (a power of two); the result depends on it")
      ->capture_default_str();
  verb.add_option("--threads", options.threads, "Compute threads a rank (default: 1; in fast mode cores/ranks)");
  verb.add_option("--numerics", options.numerics, "The same bits for every number of ranks, or not")
      ->type_name(alternatives(numerics_names))
      ->capture_default_str();
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
  verb.add_option("--recompute", options.recompute,
                  "Patterns of layers ('*' for any characters) that backward computes again, which saves their memory; "
                  "the bits are the same")
      ->delimiter(',');
  verb.add_option("--seed", options.seed, "Seed of all random numbers")
      ->capture_default_str()
      ->check([](const std::string& text) { return text.starts_with("-") ? "expected a number from 0" : ""; });
  verb.add_option("--backend", options.backend, "Where to compute; auto: on GPUs where there are any")
      ->type_name(alternatives(backend_names()))
      ->capture_default_str();
  verb.add_option("--precision", options.precision,
                  "What convolutions compute in: the CPU in fp32; weights are kept in fp32")
      ->type_name(alternatives(precision_names()))
      ->capture_default_str();
  verb.add_option("--comm", options.comm,
                  "How ranks on GPUs exchange data: mpi goes over host memory, local between threads")
      ->type_name(alternatives(comm_names()))
      ->capture_default_str();
  verb.add_option("--engines", options.engines, "An engines.json of an earlier run, to use the same GPU algorithms")
      ->type_name("FILE");
}

void add_compute_options(CLI::App& verb, Options& options) {
  verb.option_defaults()->group("Computing");
  verb.add_flag("--check-finite", options.check_finite,
                "Stop at the first node that yields NaN or infinity, also where fp16 would skip the step");
}

RunOptions run_options(const Options& options, const Runtime& runtime) {
  set_log_level(options.log);
  RunOptions run{.batch = options.batch,
                 .lanes = options.lanes,
                 .numerics = static_cast<Numerics>(index_of("numerics", options.numerics, numerics_names)),
                 .threads = options.threads.value_or(0),
                 .workers = options.workers.value_or(0),
                 .seed = options.seed,
                 .check_finite = options.check_finite,
                 .profile = options.profile,
                 .precision = precision_from_name(options.precision),
                 .backend = backend_from_name(options.backend),
                 .comm = comm_from_name(options.comm),
                 .strategy = read_strategy(options.strategy),
                 .recompute = options.recompute,
                 .engines = options.engines};
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
  if (const bool cuda = uses_cuda(run.backend); !cuda && run.precision != Precision::fp32)
    throw InputError("--precision {}: the CPU computes in fp32; expected a GPU (CUDA: {})", options.precision,
                     run.backend == BackendChoice::cpu ? "--backend is cpu" : cuda_status().text);
  else if (!cuda && run.comm == CommChoice::nccl)
    throw InputError("--comm nccl: the ranks compute on the CPU, expected GPUs");
  else if (!cuda && !options.engines.empty())
    throw InputError("--engines '{}': the ranks compute on the CPU, which has none to choose; expected GPUs",
                     options.engines);
  if (options.threads && *options.threads < 1)
    throw InputError("--threads is {}, expected a number from 1", *options.threads);
  const int64_t here = runtime.distributed() ? runtime.local_size() : std::max(run.ranks, 1);
  if (!runtime.distributed()) runtime.check_threads("--ranks", run.ranks, run.ranks);
  runtime.check_threads("--threads", run.threads, here * run.threads);
  runtime.check_threads("--workers", run.workers, here * run.workers);
  return run;
}

}  // namespace lockstep::cli
