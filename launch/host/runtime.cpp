#include "launch/host/runtime.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <future>
#include <system_error>
#include <thread>

#include "core/error.h"
#include "core/log.h"
#include "parallel/comm/gather.h"
#include "parallel/comm/launcher.h"
#include "parallel/comm/local.h"
#include "parallel/comm/mpi.h"

namespace lockstep {

namespace {

using Text = std::array<char, 512>;
constexpr const char* unknown_exception = "an unknown exception";

/// How a rank's program ended, as the others learn it.
struct Status {
  int code = 0;
  Text message{};
};

Text text_of(const std::string& string) {
  Text text{};
  std::memcpy(text.data(), string.data(), std::min(string.size(), text.size() - 1));
  return text;
}

std::string this_host() {
  Text name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

/// The cores that the system lets this process use.
cpu_set_t allowed_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0)
    for (unsigned core = 0; core < std::max(1U, std::thread::hardware_concurrency()); ++core) CPU_SET(core, &set);
  return set;
}

/// Rethrows with the rank before the message, keeping the type.
[[noreturn]] void rethrow_named(const std::exception_ptr& failure, size_t rank) {
  try {
    std::rethrow_exception(failure);
  } catch (const InputError& error) {
    throw InputError("rank {}: {}", rank, error.what());
  } catch (const std::exception& error) {
    throw Error("rank {}: {}", rank, error.what());
  } catch (...) {
    throw Error("rank {}: {}", rank, unknown_exception);
  }
}

std::string message_of(const std::exception_ptr& failure) {
  if (!failure) return {};
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return unknown_exception;
  }
}

}  // namespace

Runtime::Runtime() : hosts_{this_host()}, cores_(0) {
  const cpu_set_t own = allowed_cores();
  cores_ = CPU_COUNT(&own);
  if (!started_by_mpi()) return;
  try {
    join();
  } catch (...) {
    // Kept for guard: nobody catches what is thrown before it.
    not_started_ = std::current_exception();
    control_.reset();
    world_.reset();
    hosts_ = {this_host()};
  }
}

void Runtime::join() {
  world_ = make_mpi();
  control_ = world_->split(0, world_->rank());
  struct Place {
    Text host;
    cpu_set_t cores;
  };
  const auto places = gather(*world_, Place{text_of(hosts_[0]), allowed_cores()});
  hosts_.clear();
  for (const Place& place : places) hosts_.emplace_back(place.host.data());
  cpu_set_t together;
  CPU_ZERO(&together);
  for (size_t rank = 0; rank < places.size(); ++rank)
    if (hosts_[rank] == hosts_[static_cast<size_t>(world_->rank())]) CPU_OR(&together, &together, &places[rank].cores);
  cores_ = CPU_COUNT(&together);
}

Runtime::~Runtime() = default;

int Runtime::size() const { return world_ ? world_->size() : 1; }

int Runtime::rank() const { return world_ ? world_->rank() : 0; }

int Runtime::local_size() const {
  return static_cast<int>(std::ranges::count(hosts_, hosts_[static_cast<size_t>(rank())]));
}

void Runtime::check_threads(std::string_view option, int given, int64_t threads) const {
  const int64_t most = std::max<int64_t>(256, int64_t{16} * cores_);
  if (threads > most)
    throw InputError("{} is {}, which makes {} threads on the {} core{} of {}, expected {} at most", option, given,
                     threads, cores_, cores_ == 1 ? "" : "s", hosts_[static_cast<size_t>(rank())], most);
}

int Runtime::fitting_ranks(int places, int lanes) {
  int ranks = 1;
  while (ranks * 2 <= places && lanes % (ranks * 2) == 0) ranks *= 2;
  return ranks;
}

void Runtime::run(int ranks, const std::function<void(RankContext&)>& body) {
  if (not_started_) std::rethrow_exception(not_started_);
  if (distributed()) {
    if (ranks != size()) throw InputError("{} ranks were asked for, the launcher started {}", ranks, size());
    const auto me = static_cast<size_t>(rank());
    const auto before = std::count(hosts_.begin(), hosts_.begin() + rank(), hosts_[me]);
    RankContext context{*world_, static_cast<int>(before), local_size(), hosts_[me]};
    body(context);
    return;
  }
  const auto comms = make_local(ranks);
  std::vector<std::exception_ptr> failures(comms.size());
  std::atomic<int> first{-1};
  const auto fail = [&](size_t rank) {
    failures[rank] = std::current_exception();
    int none = -1;
    first.compare_exchange_strong(none, static_cast<int>(rank));
    comms[rank]->abort(message_of(failures[rank]));
  };
  std::vector<std::thread> threads;
  threads.reserve(comms.size());
  for (size_t rank = 0; rank < comms.size(); ++rank) {
    try {
      threads.emplace_back([&, rank] {
        try {
          RankContext context{*comms[rank], static_cast<int>(rank), ranks, hosts_[0]};
          body(context);
        } catch (...) {
          fail(rank);
        }
      });
    } catch (const std::system_error&) {  // no more threads: those that run wait for this one
      fail(rank);
      break;
    }
  }
  for (std::thread& thread : threads) thread.join();
  if (first < 0) return;
  const auto failed = static_cast<size_t>(first.load());
  const std::string why = message_of(failures[failed]);
  if (std::ranges::all_of(failures, [&](const auto& failure) { return message_of(failure) == why; }))
    std::rethrow_exception(failures[failed]);
  rethrow_named(failures[failed], failed);
}

Runtime::Failure Runtime::failure_of(const std::function<void()>& work) noexcept {
  try {
    work();
  } catch (const InputError& error) {
    return {2, error.what()};
  } catch (const std::exception& error) {
    return {1, error.what()};
  } catch (...) {
    return {1, unknown_exception};
  }
  return {};
}

void Runtime::run_on_first(const std::function<void()>& work) {
  if (!distributed()) return work();
  Status status;
  if (rank() == 0) {
    const Failure failure = failure_of(work);
    status = {failure.code, text_of(failure.message)};
  }
  WorkerStream stream;
  world_->broadcast(reinterpret_cast<std::byte*>(&status), sizeof status, 0, stream);
  stream.synchronize();
  if (status.code == 2) throw InputError("{}", status.message.data());
  if (status.code != 0) throw Error("{}", status.message.data());
}

int Runtime::agree(const Failure& mine) {
  const Status status{mine.code, text_of(mine.message)};
  auto stream = std::make_unique<WorkerStream>();
  const auto all = gather(*control_, status, *stream);
  const auto arrived = std::make_shared<std::promise<void>>();
  stream->enqueue([arrived] { arrived->set_value(); });
  // A rank that has ended well waits for the others; one that failed does not wait for ranks that wait for it. Of
  // several that failed the first ends all, before the next one speaks.
  const auto patience = std::chrono::seconds(2) + std::chrono::milliseconds(100) * std::min(rank(), 30);
  if (mine.code != 0 && arrived->get_future().wait_for(patience) == std::future_status::timeout)
    abort_mpi(*world_, mine.message, mine.code);
  stream->synchronize();

  const auto failed = std::ranges::find_if(all, [](const Status& s) { return s.code != 0; });
  if (failed == all.end()) return 0;
  const bool alike =
      std::ranges::all_of(all, [&](const Status& s) { return s.code != 0 && s.message == failed->message; });
  if (failed - all.begin() == rank()) {
    const std::string who =
        alike ? "" : fmt::format("rank {} of {} on {}: ", rank(), size(), hosts_[static_cast<size_t>(rank())]);
    log().error("{}{}", who, mine.message);
  }
  return std::ranges::max(all, {}, &Status::code).code;
}

int Runtime::guard(const std::function<void()>& program) noexcept {
  const Failure failure = failure_of([&] {
    if (not_started_) std::rethrow_exception(not_started_);
    program();
    // What was printed counts as done when it has arrived.
    if (std::fflush(stdout) != 0) throw Error("cannot write to standard output: {}", std::strerror(errno));
  });
  if (!distributed()) {
    // A launcher's ranks that could not be joined know nothing of each other: each speaks for itself.
    const std::string who =
        launched_ranks() > 1 ? fmt::format("rank {} of {} on {}: ", launched_rank(), launched_ranks(), hosts_[0]) : "";
    if (failure.code != 0) log().error("{}{}", who, failure.message);
    return failure.code;
  }
  try {
    return agree(failure);
  } catch (const std::exception& error) {
    abort_mpi(*world_, failure.code != 0 ? failure.message : error.what(), std::max(failure.code, 1));
    return std::max(failure.code, 1);
  }
}

}  // namespace lockstep
