// A step allocates nothing: memory is planned and taken before the first one ends. Counted are the backend's
// allocations and those of operator new that could hold a tensor; lists of messages and the like are smaller.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <thread>

#include "launch/data/feed/feed.h"
#include "launch/data/readers/open.h"
#include "launch/train/trainer.h"
#include "layers/cpu/kernels.h"
#include "layers/zoo/zoo.h"
#include "parallel/comm/local.h"

namespace {
constexpr size_t tensor_sized = 2048;
std::atomic<int64_t> large_allocations{0};

void* allocate(size_t bytes, size_t alignment) {
  if (bytes >= tensor_sized) ++large_allocations;
  void* memory = nullptr;
  return posix_memalign(&memory, std::max(alignment, sizeof(void*)), bytes) == 0 ? memory : nullptr;
}

void* allocate_or_throw(size_t bytes, size_t alignment) {
  void* memory = allocate(bytes, alignment);
  if (!memory) throw std::bad_alloc();
  return memory;
}
}  // namespace

void* operator new(size_t bytes) { return allocate_or_throw(bytes, alignof(std::max_align_t)); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return allocate(bytes, alignof(std::max_align_t)); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return allocate_or_throw(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

namespace lockstep {
namespace {

/// The CPU, counting what is allocated.
class CountingBackend final : public Backend {
 public:
  std::string name() const override { return cpu_->name(); }
  std::unique_ptr<Stream> compute_stream() override { return cpu_->compute_stream(); }
  std::unique_ptr<Stream> side_stream() override { return cpu_->side_stream(); }
  std::byte* allocate(size_t bytes) override {
    ++allocations;
    return cpu_->allocate(bytes);
  }
  void release(std::byte* memory) noexcept override { cpu_->release(memory); }
  void copy(std::byte* to, const std::byte* from, size_t bytes) override { cpu_->copy(to, from, bytes); }

  int allocations = 0;

 private:
  std::unique_ptr<Backend> cpu_ = make_cpu_backend(1);
};

/// Of five steps on two ranks, as rank 0 sees them.
struct Count {
  int before_first = 0, after_first = 0, after_last = 0;  // the backend's
  int64_t large_in_steps = 0;                             // operator new, both ranks
};

Count count(const Network& network, size_t scratch_a_step) {
  constexpr int64_t batch_size = 32;
  const auto data = open_data("synthetic:16x16x3/10/32").train;
  Count result;
  auto comms = make_local(2);
  const auto rank_steps = [&](size_t rank) {
    CountingBackend backend;
    Trainer trainer(network, {{batch_size, 8}, Adam{}, 1}, *comms[rank], backend, cpu_kernels());
    BatchFeed feed(
        data,
        {.batch = batch_size, .lanes = 8, .first_lane = static_cast<int64_t>(rank) * 4, .lane_count = 4, .steps = 1});
    const Batch& batch = feed.next();
    const int before_first = backend.allocations;
    trainer.train(batch, 0.001F);
    const int after_first = backend.allocations;
    const int64_t large = large_allocations;
    for (int i = 0; i < 4; ++i) {
      trainer.train(batch, 0.001F);
      if (scratch_a_step > 0) std::vector<std::byte> scratch(scratch_a_step);
    }
    if (rank == 0) result = {before_first, after_first, backend.allocations, large_allocations - large};
  };
  std::thread other([&] { rank_steps(1); });
  rank_steps(0);
  other.join();
  return result;
}

TEST(Allocation, HappensBeforeTheSecondStepAndNotFromThenOn) {
  for (const char* model : {"seed_cnn", "resnet18"}) {
    const Count counted = count(zoo_model(model, {16, 16, 3}, 10), 0);
    EXPECT_GT(counted.after_first, counted.before_first) << "the counter sees no plan being made";
    EXPECT_EQ(counted.after_last, counted.after_first) << model;
    EXPECT_EQ(counted.large_in_steps, 0) << model;
  }
}

TEST(Allocation, NegativeControlScratchMemoryOfAStepIsSeen) {
  EXPECT_GE(count(zoo_model("lenet5", {16, 16, 3}, 10), 4096).large_in_steps, 4);
}

}  // namespace
}  // namespace lockstep
