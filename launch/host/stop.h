// Stopping a run between two steps: by a signal, and so that all ranks stop after the same step.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "parallel/comm/communicator.h"

namespace lockstep {

/// While one of these lives, SIGTERM and SIGINT are noted instead of ending the process; a SIGINT after either ends it
/// as usual. One a process, made and destroyed by the main thread; any thread may ask.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  static bool requested();
  /// From here to the process' end both signals are ignored: what was to be done is done and recorded, and a signal can
  /// only make it look otherwise.
  void ignore();

  /// "SIGTERM" or "SIGINT": the first that came; empty where none did.
  static std::string name();

 private:
  bool ignored_ = false;
};

/// What all ranks agree on between steps: whether one of them was asked to stop. Asking costs a message between hosts,
/// so they ask only from time to time. Each rank's thread has one.
class StopAgreement {
 public:
  /// All ranks make one together; they ask each other about every `seconds`. `requested` is called on this rank's
  /// thread.
  StopAgreement(Communicator& comm, std::function<bool()> requested, double seconds);

  /// Called by all ranks after each step; true on all of them after the same step.
  bool after_step();

 private:
  std::unique_ptr<Communicator> comm_;  // of its own: steps may be exchanging on the ranks' at the same time
  std::function<bool()> requested_;
  double between_;
  std::chrono::steady_clock::time_point asked_ = std::chrono::steady_clock::now();
  int64_t steps_ = 0, interval_ = 1;  // since the ranks last asked, and until they ask again
};

}  // namespace lockstep
