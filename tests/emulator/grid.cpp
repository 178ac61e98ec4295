// Runs the threads of a grid, one after another, on the calling thread. A warp is run until all its threads stand at a
// barrier of the block or have ended; its own barriers are passed on the way. So a thread is ahead of those of other
// warps as far as barriers allow, and the two orders are opposite extremes.
#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <string_view>

#include "device.h"
#include "fiber.h"

constinit thread_local uint3 threadIdx{}, blockIdx{};
constinit thread_local dim3 blockDim{}, gridDim{};

namespace emulator {

namespace {

constexpr unsigned warp = 32, most_threads = 1024;

enum class State : unsigned char { at_warp, at_block, ended };

class Runner {
 public:
  void run(dim3 grid, dim3 block, Thread thread, const void* parameters);
  const void* park(State at, unsigned mask, const void* value, size_t bytes, const Where& where);

  unsigned current = 0;  // the thread that runs

 private:
  struct OneThread {
    State state;
    Fiber* fiber;
    Where where;
    unsigned mask;
    size_t bytes;
    alignas(most_exchanged) std::byte value[most_exchanged];
  };

  unsigned in_order(unsigned i) const { return order_ == Order::reverse ? count_ - 1 - i : i; }
  void enter(unsigned thread);
  bool begin_next();
  void work();
  Fiber& idle();
  void resume(Fiber& fiber);
  void resume_warp(unsigned first);
  bool run_block();
  bool run_warp(unsigned index);
  bool release_block();
  bool refuse(std::string_view why, unsigned thread);

  Order order_{};
  Thread thread_ = nullptr;
  const void* parameters_ = nullptr;
  unsigned count_ = 0;   // threads of a block
  unsigned begun_ = 0;   // of them, in order
  unsigned parked_ = 0;  // of the warp that begins
  bool beginning_ = false;
  Fiber* on_ = nullptr;  // the fiber that runs
  bool went_idle_ = false;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  std::vector<OneThread> threads_ = std::vector<OneThread>(most_threads);
  std::array<std::array<std::byte, warp * most_exchanged>, most_threads / warp> exchanged_;
};

thread_local Runner* runner = nullptr;

void Runner::enter(unsigned thread) {
  current = thread;
  threadIdx.x = thread % blockDim.x;
  const unsigned rest = thread / blockDim.x;
  threadIdx.y = rest % blockDim.y;
  threadIdx.z = rest / blockDim.y;
}

/// A fiber whose thread has ended takes the next one, without a switch; not beyond a warp that waits at a barrier.
bool Runner::begin_next() {
  if (!beginning_ || begun_ == count_) return false;
  const unsigned thread = in_order(begun_);
  if (parked_ && begun_ > 0 && thread / warp != in_order(begun_ - 1) / warp) return false;
  ++begun_;
  enter(thread);
  return true;
}

void Runner::work() {
  for (;;) {
    while (begin_next()) {
      thread_(parameters_);
      threads_[current].state = State::ended;
    }
    went_idle_ = true;
    on_->suspend();
  }
}

const void* Runner::park(State at, unsigned mask, const void* value, size_t bytes, const Where& where) {
  const unsigned self = current;
  OneThread& own = threads_[self];
  own = {at, on_, where, mask, bytes, {}};
  if (bytes) std::memcpy(own.value, value, bytes);
  if (beginning_) ++parked_;
  on_->suspend();
  return exchanged_[self / warp].data();
}

Fiber& Runner::idle() {
  if (idle_.empty()) {
    fibers_.push_back(std::make_unique<Fiber>([](void* self) { static_cast<Runner*>(self)->work(); }, this));
    return *fibers_.back();
  }
  Fiber* fiber = idle_.back();
  idle_.pop_back();
  return *fiber;
}

void Runner::resume(Fiber& fiber) {
  on_ = &fiber;
  went_idle_ = false;
  fiber.resume();
  if (fiber.overflown()) {
    fmt::print(stderr, "emulator: a kernel needs a larger stack than there is\n");
    std::abort();
  }
  if (went_idle_) idle_.push_back(&fiber);
}

/// Goes on with all threads of a warp that have been let go.
void Runner::resume_warp(unsigned index) {
  const unsigned first = index * warp, end = std::min(first + warp, count_);
  for (unsigned i = first; i < end; ++i) {
    const unsigned thread = order_ == Order::reverse ? end - 1 - (i - first) : i;
    enter(thread);
    resume(*threads_[thread].fiber);
    // The fiber suspended either in `park`, which has set a new state, or because the thread has ended.
  }
}

bool Runner::refuse(std::string_view why, unsigned thread) {
  const Where& where = threads_[thread].where;
  enter(thread);
  idle_.clear();
  fibers_.clear();  // they stand in the midst of the kernel
  fail(cudaErrorLaunchFailure,
       fmt::format("{} at {}:{} in {}: block ({}, {}, {}), thread ({}, {}, {})", why, where.file_name(), where.line(),
                   where.function_name(), blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z));
  return false;
}

bool Runner::run_warp(unsigned index) {
  const unsigned first = index * warp, end = std::min(first + warp, count_);
  for (;;) {
    unsigned waiting = 0, some = first;
    for (unsigned t = first; t < end; ++t)
      if (threads_[t].state == State::at_warp) ++waiting, some = t;
    if (waiting == 0) return true;
    if (waiting < end - first) return refuse("not all threads of a warp have come to its barrier", some);
    if (waiting < warp) return refuse("a barrier of a warp of less than 32 threads", some);
    const OneThread& one = threads_[first];
    for (unsigned t = first; t < end; ++t) {
      const OneThread& other = threads_[t];
      if (other.mask != 0xFFFFFFFFU) return refuse("a barrier of a part of a warp, which is not emulated", t);
      if (other.bytes != one.bytes || other.where.line() != one.where.line() ||
          other.where.column() != one.where.column() ||
          std::string_view(other.where.file_name()) != one.where.file_name())
        return refuse("threads of one warp stand at different barriers", t);
    }
    for (unsigned t = first; t < end; ++t)
      std::memcpy(exchanged_[index].data() + (t - first) * one.bytes, threads_[t].value, one.bytes);
    resume_warp(index);
  }
}

bool Runner::release_block() {
  const unsigned warps = (count_ + warp - 1) / warp;
  for (;;) {
    unsigned waiting = 0, some = 0;
    for (unsigned t = 0; t < count_; ++t)
      if (threads_[t].state == State::at_block) ++waiting, some = t;
    if (waiting == 0) return true;
    if (waiting < count_) return refuse("some threads have ended, others wait", some);
    for (unsigned i = 0; i < warps; ++i) {
      const unsigned index = order_ == Order::reverse ? warps - 1 - i : i;
      resume_warp(index);
      if (!run_warp(index)) return false;
    }
  }
}

bool Runner::run_block() {
  begun_ = parked_ = 0;
  bool any_parked = false;
  while (begun_ < count_) {
    beginning_ = true;
    resume(idle());
    beginning_ = false;
    if (!parked_) continue;
    any_parked = true;
    const unsigned index = in_order(begun_ - 1) / warp;
    if (begun_ < count_ && in_order(begun_) / warp == index) continue;
    if (!run_warp(index)) return false;
    parked_ = 0;
  }
  return !any_parked || release_block();
}

void Runner::run(dim3 grid, dim3 block, Thread thread, const void* parameters) {
  order_ = order();
  thread_ = thread;
  parameters_ = parameters;
  gridDim = grid;
  blockDim = block;
  count_ = block.x * block.y * block.z;
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  for (uint64_t i = 0; i < blocks; ++i) {
    const uint64_t at = order_ == Order::reverse ? blocks - 1 - i : i;
    blockIdx = {static_cast<unsigned>(at % grid.x), static_cast<unsigned>(at / grid.x % grid.y),
                static_cast<unsigned>(at / grid.x / grid.y)};
    if (!run_block()) return;
  }
}

}  // namespace

void run_grid(dim3 grid, dim3 block, Thread thread, const void* parameters) {
  thread_local Runner own;
  runner = &own;
  own.run(grid, block, thread, parameters);
}

unsigned lane() { return runner->current % warp; }

void block_barrier(const Where& where) { runner->park(State::at_block, 0, nullptr, 0, where); }

const void* warp_barrier(unsigned mask, const void* value, size_t bytes, const Where& where) {
  return runner->park(State::at_warp, mask, value, bytes, where);
}

}  // namespace emulator
