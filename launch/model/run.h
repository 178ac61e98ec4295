// How the work of a run is shared out: as it was asked for, and what that comes to. Any thread.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "launch/backends/choices.h"
#include "launch/host/runtime.h"
#include "launch/plan/step_options.h"
#include "layers/network/network.h"

namespace lockstep {

/// How the work is shared out. The result does not depend on `ranks`; in reproducible mode it depends on `lanes`,
/// `batch` and `threads`.
struct RunOptions {
  int64_t batch = 32;
  int lanes = 8;
  Numerics numerics = Numerics::reproducible;
  int ranks = 0;    // threads of this process that are ranks; 0: as many as keep the cores busy. Not under mpirun.
  int threads = 0;  // a rank; 0: 1 in reproducible mode, else the cores divided by the ranks
  int workers = 0;  // threads a rank that read and augment; 0: 1 on the CPU, else the cores divided by the ranks
  uint64_t seed = 0;
  bool check_finite = false;
  bool profile = false;  // times each node of rank 0's training steps (see Model::profiled); the bits are the same
  Precision precision = Precision::fp32;
  BackendChoice backend = BackendChoice::automatic;
  CommChoice comm = CommChoice::automatic;
  Strategy strategy = {};                   // how the work on a lane is shared by several ranks, where it is
  std::vector<std::string> recompute = {};  // patterns of layers that backward computes again: memory for time
  std::filesystem::path engines = {};  // of an earlier run, to compute with the same algorithms; empty: chosen again

  /// Calls visit(name, member, what it is) for each option. All that asks for options or tells them goes by this: the
  /// command line with its help and completion, files, the environment, the manifest. Not ranks and strategy, which the
  /// command line reads from texts.
  template <class Self, class Visit>
  static void describe(Self& self, Visit visit) {
    visit("batch", self.batch, "Samples in a global batch, over all ranks");
    visit("lanes", self.lanes, "Parts of the global batch (a power of two); the result depends on it");
    visit("threads", self.threads, "Compute threads a rank (default: 1; in fast mode cores/ranks)");
    visit("numerics", self.numerics, "The same bits for every number of ranks, or not");
    visit(
        "recompute", self.recompute,
        "Patterns of layers ('*' for any characters) that backward computes again, which saves their memory; the bits "
        "are the same");
    visit("seed", self.seed, "Seed of all random numbers");
    visit("backend", self.backend, "Where to compute; auto: on GPUs where there are any");
    visit("precision", self.precision, "What convolutions compute in: the CPU in fp32; weights are kept in fp32");
    visit("comm", self.comm, "How ranks on GPUs exchange data: mpi goes over host memory, local between threads");
    visit("engines", self.engines, "An engines.json of an earlier run, to use the same GPU algorithms");
    visit(
        "workers", self.workers,
        "Threads a rank that read and augment images (default: 1 on the CPU, else cores/ranks); the bits are the same");
    visit("check_finite", self.check_finite,
          "Stop at the first node that yields NaN or infinity, also where fp16 would skip the step");
    visit("profile", self.profile,
          "Time each node of rank 0's steps, one by one, and print milliseconds, GFLOP/s and GB/s; the bits are the "
          "same");
  }
};

/// What a run's options come to for a network, on this machine and with the ranks that a launcher started.
struct ResolvedRun {
  int ranks = 1;
  int threads = 1, workers = 1;  // a rank
  int lanes = 1;                 // of all ranks
  bool gpus = false;
  StepOptions step;  // its strategy says how many stages there are, and which layer is in which
};

/// The same for any network, with nothing refused: what a search of strategies begins with.
ResolvedRun share_out(const RunOptions& options, const Runtime& runtime);

/// Loss and metrics of the step are for the caller to set. Throws InputError where batch, lanes, ranks and strategy do
/// not divide, the strategy does not go with the network, or there would be too many threads.
ResolvedRun resolve(const RunOptions& options, const Runtime& runtime, const Network& network);

}  // namespace lockstep
