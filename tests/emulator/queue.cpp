#include <cfenv>
#include <chrono>
#include <optional>

#include "device.h"

namespace emulator {

namespace {

// How long host functions lie before the device gets to them unasked.
constexpr auto patience = std::chrono::milliseconds(10);

}  // namespace

std::mutex& state() {
  static auto* mutex = new std::mutex;  // streams may outlive static objects
  return *mutex;
}

Queue::~Queue() {
  {
    std::unique_lock lock(state());
    wait_locked(pushed_, lock);
    stop_ = true;
    asked_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

uint64_t Queue::push_locked(Work work, Kind kind) {
  pieces_.push_back({std::move(work), kind});
  ++pushed_;
  if (kind == Kind::host) {
    last_host_ = pushed_;
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
    asked_.notify_all();
  }
  return pushed_;
}

bool Queue::ask_locked(uint64_t place) {
  if (done_ >= place) return true;
  if (wanted_ < place) {
    wanted_ = place;
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
    asked_.notify_all();
  }
  return false;
}

void Queue::wait_locked(uint64_t place, std::unique_lock<std::mutex>& lock) {
  if (!ask_locked(place)) progress_.wait(lock, [&] { return done_ >= place; });
}

void Queue::wait(uint64_t place) {
  std::unique_lock lock(state());
  wait_locked(place, lock);
}

void Queue::run() {
  std::fesetenv(FE_DFL_ENV);  // a device keeps subnormal numbers, whatever the host's threads do
  std::unique_lock lock(state());
  std::optional<DeviceAccess> access;  // kept from piece to piece: to get it takes long
  for (;;) {
    while (done_ >= wanted_ && !stop_) {
      if (last_host_ <= done_)
        asked_.wait(lock);
      else if (asked_.wait_for(lock, patience) == std::cv_status::timeout)
        wanted_ = std::max(wanted_, last_host_);
    }
    if (done_ >= wanted_) return;
    Piece piece = std::move(pieces_.front());
    pieces_.pop_front();
    if (piece.kind == Kind::host) access.reset();
    if (piece.kind == Kind::kernel && !access) access.emplace();
    lock.unlock();
    piece.work();
    piece.work = nullptr;
    lock.lock();
    if (++done_ >= wanted_) access.reset();  // before whoever waited goes on
    progress_.notify_all();
  }
}

}  // namespace emulator
