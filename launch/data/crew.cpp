#include "launch/data/crew.h"

#include <utility>

namespace lockstep {

Crew::Crew(int workers) {
  for (int worker = 1; worker < workers; ++worker) threads_.emplace_back([this, worker] { serve(worker); });
}

Crew::~Crew() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  called_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Crew::serve(int worker) {
  uint64_t served = 0;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      called_.wait(lock, [&] { return stop_ || calls_ != served; });
      if (stop_) return;
      served = calls_;
    }
    take_parts(worker);
    {
      const std::lock_guard lock(mutex_);
      if (--busy_ > 0) continue;
    }
    done_.notify_one();
  }
}

void Crew::take_parts(int worker) {
  while (true) {
    int64_t part = 0;
    {
      const std::lock_guard lock(mutex_);
      // Parts are begun in order: all below one that failed are done or under way.
      if (failure_ || next_ == count_) return;
      part = next_++;
    }
    try {
      (*work_)(part, worker);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure_ || part < failed_part_) {
        failure_ = std::current_exception();
        failed_part_ = part;
      }
    }
  }
}

void Crew::each(int64_t count, const Work& work) {
  {
    const std::lock_guard lock(mutex_);
    work_ = &work;
    count_ = count;
    next_ = 0;
    busy_ = threads_.size();
    ++calls_;
  }
  called_.notify_all();
  take_parts(0);
  std::unique_lock lock(mutex_);
  done_.wait(lock, [&] { return busy_ == 0; });
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

}  // namespace lockstep
