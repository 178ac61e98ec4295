#include "parallel/comm/nccl/guard.h"

#include "core/cuda/streams.h"
#include "core/error.h"

namespace lockstep::nccl {
namespace {

constexpr auto look_every = std::chrono::milliseconds(100);

/// Errors of a state that is being polled, and not of the polling, are what matters.
ncclResult_t state_of(ncclComm_t comm) {
  ncclResult_t state = ncclSuccess;
  const ncclResult_t asked = ncclCommGetAsyncError(comm, &state);
  return asked == ncclSuccess ? state : asked;
}

}  // namespace

void Group::abort(std::string_view why) noexcept {
  const std::lock_guard lock(mutex_);
  if (aborted_) return;
  try {
    aborted_.emplace(why);
  } catch (...) {
    aborted_.emplace();  // no memory for the message: an empty one still releases everybody
  }
}

std::optional<std::string> Group::aborted() const {
  const std::lock_guard lock(mutex_);
  return aborted_;
}

Guard::Guard(std::shared_ptr<Group> group, Communicator& control, std::chrono::seconds limit)
    : group_(std::move(group)), control_(control), limit_(limit) {
  if (const cudaError_t status = cudaGetDevice(&device_); status != cudaSuccess)
    throw Error("cudaGetDevice failed: {}", cudaGetErrorString(status));
  thread_ = std::thread([this] { look_after(); });
}

Guard::~Guard() {
  const bool failing = std::uncaught_exceptions() > exceptions_at_start_;
  try {
    // Not over `control`: there the reason will be told by who handles the exception.
    if (failing) group_->abort(fmt::format("rank {}: has ended with an error", control_.rank()));
  } catch (...) {
    group_->abort("a rank has ended with an error");
  }
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
  finish();
}

void Guard::start(const Call& call, const Start& start, std::source_location where) {
  check();
  std::unique_lock lock(mutex_);
  begin(call);
  const ncclResult_t result = start(made_);
  comm_ = made_;
  complete(result, where, lock);
}

void Guard::run(const Call& call, const Body& body, std::source_location where) {
  check();
  std::unique_lock lock(mutex_);
  begin(call);
  if (!comm_) throw Error("{}", group_->aborted().value_or("aborted"));
  complete(body(comm_), where, lock);
}

void Guard::enqueue(const Call& call, Stream& stream, const Body& body, std::source_location where) {
  run(call, body, where);
  cudaStreamCaptureStatus capturing{};
  if (cudaStreamIsCapturing(cuda::native(stream), &capturing) != cudaSuccess ||
      capturing != cudaStreamCaptureStatusNone)
    return;
  const std::lock_guard lock(mutex_);
  expect_end(stream);
}

void Guard::begin(const Call& call) {
  last_ = call;
  ++calls_;
}

void Guard::watch(Stream& stream) {
  check();
  const std::lock_guard lock(mutex_);
  expect_end(stream);
}

void Guard::check() const {
  if (const auto why = group_->aborted()) throw Error("{}", *why);
}

void Guard::abort(std::string_view why) noexcept {
  try {
    group_->abort(fmt::format("rank {}: {}", control_.rank(), why));
  } catch (...) {
    group_->abort(why);
  }
  wake_.notify_all();
  control_.abort(why);
}

/// Waits until NCCL is done with a call that has returned `result`. Never inside NCCL, and not under the lock, so that
/// an abort gets through.
void Guard::complete(ncclResult_t result, std::source_location where, std::unique_lock<std::mutex>& lock) {
  const auto start = Clock::now();
  for (int tries = 0; result == ncclInProgress; ++tries) {
    lock.unlock();
    if (tries < 1000)
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    check();
    lock.lock();
    if (!comm_) throw Error("{}", group_->aborted().value_or("aborted"));
    result = state_of(comm_);
    if (result == ncclInProgress && Clock::now() - start > limit_) break;
  }
  if (result == ncclSuccess) return;
  const std::string why = result == ncclInProgress
                              ? fmt::format("{} at {}:{}: the other ranks did not join within {} s", describe(),
                                            where.file_name(), where.line(), limit_.count())
                              : fmt::format("{} failed at {}:{}: {} ({})", describe(), where.file_name(), where.line(),
                                            ncclGetErrorString(result), ncclGetLastError(comm_));
  lock.unlock();
  abort(why);
  throw Error("rank {}: {}", control_.rank(), why);
}

/// One event does: it is recorded again after each call, and the time counts from the latest.
void Guard::expect_end(Stream& stream) {
  if (!end_) end_ = stream.event();
  stream.record(*end_);
  pending_ = true;
  since_ = Clock::now();
}

void Guard::look_after() {
  // Otherwise the first call in this thread would open a context on device 0.
  static_cast<void>(cudaSetDevice(device_));
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    wake_.wait_for(lock, look_every);
    if (!comm_) continue;
    if (!group_->aborted()) {
      const std::string why = trouble();
      if (why.empty()) continue;
      lock.unlock();
      abort(why);
      lock.lock();
    }
    // Without the lock: it may take until graphs that hold the communicator are gone, and their owner must get there.
    ncclComm_t failed = std::exchange(comm_, nullptr);
    lock.unlock();
    static_cast<void>(ncclCommAbort(failed));
    lock.lock();
  }
}

std::string Guard::trouble() {
  const ncclResult_t state = state_of(comm_);
  if (state != ncclSuccess && state != ncclInProgress)
    return fmt::format("{} or a call before it failed: {} ({})", describe(), ncclGetErrorString(state),
                       ncclGetLastError(comm_));
  try {
    if (pending_ && end_->reached()) pending_ = false;
  } catch (const std::exception& error) {
    pending_ = false;
    return fmt::format("{} or work before it failed: {}", describe(), error.what());
  }
  if (pending_ && Clock::now() - since_ > limit_)
    return fmt::format("{} timed out: it, or work before it, is not done after {} s", describe(), limit_.count());
  return {};
}

/// "all_reduce of 1024 bytes, call 17".
std::string Guard::describe() const {
  const std::string peer = last_.peer < 0 ? std::string() : fmt::format(", peer {}", last_.peer);
  return fmt::format("NCCL {} of {} bytes{}, call {}", last_.name, last_.bytes, peer, calls_);
}

void Guard::finish() noexcept {
  if (!comm_) return;
  const auto start = Clock::now();
  ncclResult_t state = group_->aborted() ? ncclRemoteError : ncclCommFinalize(comm_);
  while (state == ncclInProgress && Clock::now() - start < limit_ && !group_->aborted()) {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    state = state_of(comm_);
  }
  static_cast<void>(state == ncclSuccess ? ncclCommDestroy(comm_) : ncclCommAbort(comm_));
}

}  // namespace lockstep::nccl
