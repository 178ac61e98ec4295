// Threads that share out the parts of one piece of work after another. One thread owns a crew and calls it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace lockstep {

class Crew {
 public:
  using Work = std::function<void(int64_t part, int worker)>;

  /// `workers` threads, the caller's being one of them.
  explicit Crew(int workers);
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  int workers() const { return static_cast<int>(threads_.size()) + 1; }
  /// Calls work(part, worker) once for each part from 0 to count - 1, parts of one worker (0 to workers - 1) one after
  /// another, and returns when all are done. Where parts throw, no more are begun, and the exception of the lowest of
  /// them is thrown on, whatever the number of workers.
  void each(int64_t count, const Work& work);

 private:
  void serve(int worker);
  void take_parts(int worker);

  std::mutex mutex_;
  std::condition_variable called_, done_;
  const Work* work_ = nullptr;
  int64_t count_ = 0, next_ = 0;
  int64_t failed_part_ = 0;
  std::exception_ptr failure_;
  uint64_t calls_ = 0;
  size_t busy_ = 0;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace lockstep
