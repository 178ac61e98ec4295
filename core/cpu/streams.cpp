#include "core/cpu/streams.h"

#include <omp.h>

#include <cstring>

#include "core/cpu/await.h"
#include "core/cpu/float_environment.h"
#include "core/error.h"

namespace lockstep {

void WorkerQueue::push(std::function<void()> work) {
  {
    std::lock_guard lock(mutex_);
    ++count_pushed_;
    if (error_) {
      ++count_done_;
      return;
    }
    queue_.push_back(std::move(work));
  }
  pushed_.notify_one();
}

uint64_t WorkerQueue::pushed() {
  std::lock_guard lock(mutex_);
  return count_pushed_;
}

uint64_t WorkerQueue::done() {
  std::lock_guard lock(mutex_);
  return count_done_;
}

void WorkerQueue::wait_for(uint64_t count) {
  std::unique_lock lock(mutex_);
  while (count_done_ < count) {
    if (can_begin())
      run_next(lock);
    else
      await(lock, finished_, [&] { return count_done_ >= count || can_begin(); });
  }
  if (failed_ != 0 && failed_ <= count) std::rethrow_exception(error_);
}

void WorkerQueue::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    // At once to sleep: who waits for work that has not begun does it, and a core kept busy here is missed elsewhere.
    pushed_.wait(lock, [&] { return (stopping_ && queue_.empty()) || can_begin(); });
    if (queue_.empty()) return;
    run_next(lock);
  }
}

void WorkerQueue::run_next(std::unique_lock<std::mutex>& lock) {
  std::function<void()> work = std::move(queue_.front());
  queue_.pop_front();
  running_ = true;
  lock.unlock();
  std::exception_ptr error;
  try {
    work();
  } catch (...) {
    error = std::current_exception();
  }
  work = nullptr;  // what it captured is released before anyone learns that it is done
  lock.lock();
  running_ = false;
  ++count_done_;
  if (error) {
    error_ = error;
    failed_ = count_done_;
    count_done_ = count_pushed_;
    queue_.clear();
  }
  if (!queue_.empty() || stopping_) pushed_.notify_one();
  finished_.notify_all();
}

void WorkerQueue::stop(bool discard) {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    if (discard) {
      count_done_ += queue_.size();
      queue_.clear();
    }
  }
  pushed_.notify_one();
  finished_.notify_all();
}

void CpuStream::copy(std::byte* to, const std::byte* from, size_t bytes) {
  enqueue([=] {
    if (bytes) std::memcpy(to, from, bytes);
  });
}

namespace {

/// Below so many floats, waking threads costs more than they save.
constexpr size_t worth_threads = size_t{1} << 16;

/// On a worker stream OpenMP has one thread. Elements are independent: the threads don't change the bits.
bool takes_threads(size_t n) { return n >= worth_threads && omp_get_max_threads() > 1; }

}  // namespace

void CpuStream::accumulate(float* to, const float* from, size_t n) {
  enqueue([=] {
#pragma omp parallel for simd schedule(static) if (takes_threads(n))
    for (size_t i = 0; i < n; ++i) to[i] += from[i];
  });
}

void CpuStream::copy_rows(std::byte* to, size_t to_pitch, const std::byte* from, size_t from_pitch, size_t bytes,
                          size_t rows) {
  enqueue([=] {
    for (size_t row = 0; row < rows; ++row) std::memcpy(to + row * to_pitch, from + row * from_pitch, bytes);
  });
}

void CpuStream::accumulate_rows(DType dtype, std::byte* to, size_t to_pitch, const std::byte* from, size_t n,
                                size_t rows) {
  if (dtype != DType::f32) throw Error("the CPU adds no {}", name_of(dtype));
  if (rows == 1) return accumulate(reinterpret_cast<float*>(to), reinterpret_cast<const float*>(from), n);
  enqueue([=] {  // at once: a piece of work for each row would cost more than the row
#pragma omp parallel for schedule(static) if (takes_threads(n * rows))
    for (size_t row = 0; row < rows; ++row) {
      auto* sums = reinterpret_cast<float*>(to + row * to_pitch);
      const auto* terms = reinterpret_cast<const float*>(from) + row * n;
#pragma omp simd
      for (size_t i = 0; i < n; ++i) sums[i] += terms[i];
    }
  });
}

void CpuStream::zero(std::byte* to, size_t bytes) {
  enqueue([=] { std::memset(to, 0, bytes); });
}

void CpuStream::gather(std::byte* to, const std::byte* from, std::span<const int32_t> rows, size_t row_bytes) {
  enqueue([=] {
    for (size_t i = 0; i < rows.size(); ++i) {
      std::byte* const row = to + i * row_bytes;
      if (rows[i] < 0)
        std::memset(row, 0, row_bytes);
      else
        std::memcpy(row, from + static_cast<size_t>(rows[i]) * row_bytes, row_bytes);
    }
  });
}

void InlineStream::record(Event& event) { static_cast<CpuEvent&>(event).queue.reset(); }

void InlineStream::wait(Event& event) { event.synchronize(); }

WorkerStream::WorkerStream()
    : thread_([queue = queue_] {
        // The rank's own thread has the cores; work here (copies, sums of buckets) is bound by memory, not by compute.
        omp_set_num_threads(1);
        flush_subnormals_to_zero();
        queue->work();
      }) {}

WorkerStream::~WorkerStream() {
  queue_->stop(std::uncaught_exceptions() > exceptions_at_start_);
  thread_.join();
}

void WorkerStream::record(Event& event) {
  auto& point = static_cast<CpuEvent&>(event);
  point.queue = queue_;
  point.count = queue_->pushed();
}

void WorkerStream::wait(Event& event) {
  const auto& point = static_cast<CpuEvent&>(event);
  if (!point.queue || point.queue == queue_) return;
  enqueue([queue = point.queue, count = point.count] { queue->wait_for(count); });
}

void WorkerStream::synchronize() { queue_->wait_for(queue_->pushed()); }

}  // namespace lockstep
