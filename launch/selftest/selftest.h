// Whether this machine, its libraries and its links do what training counts on: for machines that nobody can look into.
// Used by the main thread.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "launch/backends/choices.h"
#include "launch/host/runtime.h"

namespace lockstep {

struct SelftestOptions {
  int ranks = 0;  // threads of this process; 0: a rank a GPU, or as many as keep the cores busy. Not under mpirun.
  BackendChoice backend = BackendChoice::automatic;
  CommChoice comm = CommChoice::automatic;
  uint64_t seed = 0;
  /// What stands between a rank and a communicator that it is tested over; none: nothing. Tests plant faults here.
  std::function<std::unique_ptr<Communicator>(Communicator&)> between = {};
};

/// One thing that was tested.
struct SelfCheck {
  std::string name;        // "exchanges"
  std::string fault = {};  // what is wrong, and where: host, rank, step; empty where nothing is
  std::string seen = {};   // what was seen, on rank 0
  double seconds = 0;
  bool run = false;  // not where a check before it has left ranks that cannot talk to each other
};

struct SelftestReport {
  int ranks = 1;
  std::string kind;                      // of what the ranks talk over: "local", "mpi", "nccl"
  std::vector<std::string> computes_on;  // by rank: host, and device with the versions that decide its bits
  std::vector<SelfCheck> checks;

  /// The first that failed; null where all were run and none has.
  const SelfCheck* failure() const;
  std::string text() const;
  nlohmann::ordered_json json() const;
};

/// The same report on every rank, but for times and what rank 0 has seen.
/// Throws InputError as a run with these options does before it starts.
SelftestReport selftest(Runtime& runtime, const SelftestOptions& options);

}  // namespace lockstep
