// How the work of a run is shared out: as it was asked for, and what that comes to. Any thread.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "launch/host/runtime.h"
#include "launch/train/device.h"

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
};

/// What a run's options come to for a network, on this machine and with the ranks that a launcher started.
struct ResolvedRun {
  int ranks = 1;
  int threads = 1, workers = 1;  // a rank
  int lanes = 1;                 // of all ranks
  bool cuda = false;
  StepOptions step;  // its strategy says how many stages there are, and which layer is in which
};

/// The same for any network, with nothing refused: what a search of strategies begins with.
ResolvedRun share_out(const RunOptions& options, const Runtime& runtime);

/// Loss and metrics of the step are for the caller to set. Throws InputError where batch, lanes, ranks and strategy do
/// not divide, the strategy does not go with the network, or there would be too many threads.
ResolvedRun resolve(const RunOptions& options, const Runtime& runtime, const Network& network);

}  // namespace lockstep
