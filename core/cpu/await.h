// Waiting for a condition that another thread is about to make true. Any thread may call.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

namespace lockstep {

/// As `changed.wait(lock, condition)`, but first looks some fifty times, giving way in between: a few microseconds.
/// Waking a sleeping thread takes longer than handing over a small message: 8 bytes between two ranks arrive in an
/// eighth of the time. It stays short, since the core may be wanted by others.
template <class Condition>
void await(std::unique_lock<std::mutex>& lock, std::condition_variable& changed, Condition condition) {
  for (int look = 0; look < 50; ++look) {
    if (condition()) return;
    lock.unlock();
    std::this_thread::yield();
    lock.lock();
  }
  changed.wait(lock, condition);
}

}  // namespace lockstep
