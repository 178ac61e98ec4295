#include "launch/host/stop.h"

#include <algorithm>
#include <atomic>
#include <csignal>

#include "parallel/comm/gather.h"

namespace lockstep {

namespace {

// A signal is the process', and its handler gets no object: there is no other place.
std::atomic<int> received{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal's handler may not wait");

void note(int signal) {
  int none = 0;
  received.compare_exchange_strong(none, signal);
  std::signal(SIGINT, SIG_DFL);
}

}  // namespace

StopSignals::StopSignals() {
  received = 0;
  struct sigaction action {};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART;  // reads and writes under way are none of the signal's business
  for (const int signal : {SIGTERM, SIGINT}) ::sigaction(signal, &action, nullptr);
}

StopSignals::~StopSignals() {
  if (ignored_) return;
  for (const int signal : {SIGTERM, SIGINT}) std::signal(signal, SIG_DFL);
}

void StopSignals::ignore() {
  ignored_ = true;
  for (const int signal : {SIGTERM, SIGINT}) std::signal(signal, SIG_IGN);
}

bool StopSignals::requested() { return received != 0; }

std::string StopSignals::name() {
  const int signal = received;
  return signal == 0 ? "" : signal == SIGINT ? "SIGINT" : "SIGTERM";
}

StopAgreement::StopAgreement(Communicator& comm, std::function<bool()> requested, double seconds)
    : comm_(comm.split(0, comm.rank())), requested_(std::move(requested)), between_(seconds) {}

bool StopAgreement::after_step() {
  if (comm_->size() == 1) return requested_();
  if (++steps_ < interval_) return false;
  // What is asked for, and how long a step takes here: all ranks choose the same next time from the same answers.
  struct Answer {
    double seconds;
    bool stop;
  };
  const auto now = std::chrono::steady_clock::now();
  const double seconds = std::chrono::duration<double>(now - asked_).count() / static_cast<double>(steps_);
  asked_ = now;
  steps_ = 0;
  const auto answers = gather(*comm_, Answer{seconds, requested_()});
  constexpr double most = 1000;
  const double slowest = std::ranges::max(answers, {}, &Answer::seconds).seconds;
  interval_ = static_cast<int64_t>(std::clamp(between_ / std::max(slowest, 1e-9), 1.0, most));
  return std::ranges::any_of(answers, &Answer::stop);
}

}  // namespace lockstep
