// How ranks come to be: as processes of mpirun or srun, or as threads of this process. One Runtime a process, made
// first thing in main, used by the main thread.
#pragma once

#include <algorithm>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/comm/communicator.h"

namespace lockstep {

/// What a rank knows of itself and the others.
struct RankContext {
  Communicator& comm;
  int local_rank = 0, local_size = 1;  // among the ranks on this host
  std::string host;
};

class Runtime {
 public:
  /// Joins the other ranks where the environment shows a launcher; makes no MPI call otherwise. Does not throw: what
  /// prevents it is thrown by `run` and reported by `guard`, which then runs no program.
  Runtime();
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  /// Whether this process is one rank of a launcher's.
  bool distributed() const { return world_ != nullptr; }
  /// Ranks that the launcher started, and which one this process is; 1 and 0 where there is no launcher.
  int size() const;
  int rank() const;
  /// Ranks on this host.
  int local_size() const;
  /// By rank; this host alone where there is no launcher.
  const std::vector<std::string>& hosts() const { return hosts_; }

  /// Runs `body` on every rank: once where distributed (then `ranks` must be size()), else on `ranks` threads. A thread
  /// that throws releases all others, and run rethrows its error with "rank R: " before it (without where all threads
  /// throw the same).
  void run(int ranks, const std::function<void(RankContext&)>& body);

  /// Runs `work` on rank 0 alone; where distributed the others wait, and what it throws is thrown on every rank.
  void run_on_first(const std::function<void()>& work);

  /// Runs a whole program and returns the process' exit code: 0, 1 after an Error or other exception, 2 after an
  /// InputError. Errors go to stderr. Where distributed, all ranks end with the same code: an error that all have alike
  /// is printed once; when the others do not end by themselves within two seconds, they are ended. Ranks of a
  /// launcher that could not be joined each print theirs.
  int guard(const std::function<void()>& program) noexcept;

  /// Cores that the ranks on this host may use together: mpirun may bind each of them to some of its own.
  int cores() const { return cores_; }
  /// Throws InputError that names `option` and what it was given, where that makes more threads on this host than it
  /// gets by with: 16 a core, or 256 where that is more. (Results can depend on the threads of a rank, so that a run of
  /// a larger machine must be possible here.)
  void check_threads(std::string_view option, int given, int64_t threads) const;
  /// The largest power of two that is at most cores / threads and divides `lanes`; at least 1.
  int auto_ranks(int lanes, int threads) const { return fitting_ranks(cores_ / std::max(threads, 1), lanes); }
  /// The largest power of two that is at most `places` and divides `lanes` (0: any does); at least 1.
  static int fitting_ranks(int places, int lanes);

 private:
  struct Failure {
    int code = 0;
    std::string message;
  };
  static Failure failure_of(const std::function<void()>& work) noexcept;
  void join();
  int agree(const Failure& mine);

  std::unique_ptr<Communicator> world_, control_;
  std::vector<std::string> hosts_;
  int cores_;
  std::exception_ptr not_started_;
};

}  // namespace lockstep
