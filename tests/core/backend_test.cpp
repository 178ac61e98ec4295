// The CPU backend: memory, streams, events, the addition, and the floating-point environment.
#include "core/backend.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <bit>
#include <cfenv>
#include <cstdint>
#include <ctime>
#include <future>
#include <limits>
#include <thread>
#include <vector>

#include "core/error.h"
#include "tests/support/errors.h"
#include "tests/support/watchdog.h"

// The test of a refused allocation needs a null pointer from the sanitizers' allocators as well.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }
extern "C" const char* __tsan_default_options() { return "allocator_may_return_null=1"; }

namespace lockstep {
namespace {

class BackendTest : public ::testing::Test {
 protected:
  testing::Watchdog watchdog_{"backend_test"};
  std::unique_ptr<Backend> backend_ = make_cpu_backend(1);
  std::unique_ptr<Stream> compute_ = backend_->compute_stream(), side_ = backend_->side_stream();
  std::unique_ptr<Event> event_ = compute_->event();
};

TEST_F(BackendTest, MemoryIsZeroedAndAligned) {
  for (const size_t bytes : {size_t{1}, size_t{64}, size_t{1000}, (size_t{2} << 20) + 4, size_t{33} << 20}) {
    for (int again = 0; again < 2; ++again) {  // the second time the allocator may hand out used memory
      Arena arena(*backend_, bytes);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(arena.data()) % 64, 0U) << bytes;
      EXPECT_TRUE(std::all_of(arena.data(), arena.data() + bytes, [](std::byte b) { return b == std::byte{0}; }))
          << bytes;
      std::fill_n(arena.data(), bytes, std::byte{0xff});
    }
  }
}

TEST_F(BackendTest, RefusedMemoryNamesTheSize) {
  for (const size_t bytes : {size_t{1} << 60, std::numeric_limits<size_t>::max()}) {
    EXPECT_TRUE(test::says(test::error_of<Error>([&] { backend_->allocate(bytes); }), {std::to_string(bytes)}));
  }
}

TEST_F(BackendTest, NoThreadsAreRefused) { EXPECT_THROW(make_cpu_backend(0), InputError); }

TEST_F(BackendTest, AccumulateAddsEveryElementOnce) {
  for (const size_t n : {0, 1, 7, 16, 1000, 70001}) {
    for (const size_t offset : {0, 1, 5}) {  // any alignment
      std::vector<float> to(n + offset + 1, 3.0F), from(n + offset + 1);
      for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<float>(i);
      compute_->accumulate(to.data() + offset, from.data() + offset, n);
      for (size_t i = 0; i < to.size(); ++i) {
        const bool inside = i >= offset && i < offset + n;
        ASSERT_EQ(to[i], inside ? 3.0F + static_cast<float>(i) : 3.0F)
            << "n " << n << " offset " << offset << " i " << i;
      }
    }
  }
}

TEST_F(BackendTest, GatherTakesRowsByTheirNumber) {
  const std::vector<float> from{1, 2, 3, 4, 5, 6};
  std::vector<float> to(8, 7.0F);
  compute_->gather(reinterpret_cast<std::byte*>(to.data()), reinterpret_cast<const std::byte*>(from.data()),
                   std::vector<int32_t>{2, -1, 0}, 2 * sizeof(float));
  EXPECT_EQ(to, (std::vector<float>{5, 6, 0, 0, 1, 2, 7, 7}));
}

TEST_F(BackendTest, RowsAreCopiedAddedAndZeroedByPitch) {
  const std::vector<float> from{1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<float> to(9, 10.0F);
  const auto bytes = [](auto& v) { return reinterpret_cast<std::byte*>(const_cast<float*>(v.data())); };
  compute_->copy_rows(bytes(to) + 4, 16, bytes(from) + 4, 12, 8, 2);
  EXPECT_EQ(to, (std::vector<float>{10, 2, 3, 10, 10, 5, 6, 10, 10}));
  compute_->accumulate_rows(DType::f32, bytes(to), 20, bytes(from), 2, 2);
  EXPECT_EQ(to, (std::vector<float>{11, 4, 3, 10, 10, 8, 10, 10, 10}));
  compute_->zero(bytes(to) + 8, 12);
  EXPECT_EQ(to, (std::vector<float>{11, 4, 0, 0, 0, 8, 10, 10, 10}));
  EXPECT_TRUE(test::says(
      test::error_of<Error>([&] { compute_->accumulate_rows(DType::f16, bytes(to), 4, bytes(from), 1, 1); }), {"f16"}));
}

TEST_F(BackendTest, CopyMovesBytesInStreamOrder) {
  const std::vector<int> from{1, 2, 3};
  std::vector<int> middle(3), to(3);
  const auto bytes = [](auto& v) { return reinterpret_cast<std::byte*>(const_cast<int*>(v.data())); };
  side_->copy(bytes(middle), bytes(from), 12);
  side_->copy(bytes(to), bytes(middle), 12);
  side_->synchronize();
  EXPECT_EQ(to, from);
}

TEST_F(BackendTest, ComputeStreamRunsAtOnceInTheCaller) {
  std::thread::id ran;
  compute_->enqueue([&] { ran = std::this_thread::get_id(); });
  EXPECT_EQ(ran, std::this_thread::get_id());
}

TEST_F(BackendTest, SideStreamRunsBesideTheCaller) {
  std::promise<void> gate;
  std::vector<int> order;
  side_->enqueue([&] { gate.get_future().wait(); });
  for (int i = 0; i < 100; ++i) side_->enqueue([&, i] { order.push_back(i); });
  side_->record(*event_);
  EXPECT_TRUE(order.empty());  // all of the above returned while the gate was closed
  gate.set_value();
  compute_->wait(*event_);
  ASSERT_EQ(order.size(), 100U);
  EXPECT_TRUE(std::ranges::is_sorted(order));
}

TEST_F(BackendTest, WaitingDoesNotIncludeLaterWork) {
  std::promise<void> gate;
  bool before = false;
  side_->enqueue([&] { before = true; });
  side_->record(*event_);
  side_->enqueue([&] { gate.get_future().wait(); });
  compute_->wait(*event_);  // would hang if it waited for the gate
  EXPECT_TRUE(before);
  gate.set_value();
  side_->synchronize();
}

TEST_F(BackendTest, EventsOrderTwoSideStreams) {
  const auto other = backend_->side_stream();
  for (int round = 0; round < 200; ++round) {
    int value = 0, seen = -1;
    side_->enqueue([&] { value = round; });
    side_->record(*event_);
    other->wait(*event_);
    other->enqueue([&] { seen = value; });
    other->synchronize();
    ASSERT_EQ(seen, round);
  }
}

TEST_F(BackendTest, EventsOfTheComputeStreamAreReached) {
  compute_->wait(*event_);  // never recorded: nothing to wait for
  compute_->record(*event_);
  side_->wait(*event_);
  side_->synchronize();
}

TEST_F(BackendTest, ExceptionsReachWaitsBehindThem) {
  const auto before = compute_->event();
  const auto other = backend_->side_stream();
  bool later_ran = false;
  side_->enqueue([] {});
  side_->record(*before);
  side_->enqueue([] { throw InputError("thrown by work"); });
  side_->enqueue([&] { later_ran = true; });
  side_->record(*event_);
  EXPECT_NO_THROW(compute_->wait(*before));
  EXPECT_THROW(compute_->wait(*event_), InputError);
  EXPECT_THROW(side_->synchronize(), InputError);
  other->wait(*event_);
  EXPECT_THROW(other->synchronize(), InputError);
  side_->enqueue([&] { later_ran = true; });
  EXPECT_THROW(side_->synchronize(), InputError);  // stays failed
  EXPECT_FALSE(later_ran);
}

TEST_F(BackendTest, UnwindingDropsWorkThatHasNotBegun) {
  std::promise<void> began, gate;
  bool later_ran = false;
  const auto fail = [&] {
    const auto stream = backend_->side_stream();
    stream->enqueue([&] {
      began.set_value();
      gate.get_future().wait();
    });
    stream->enqueue([&] { later_ran = true; });
    began.get_future().wait();
    throw Error("the rank fails");
  };
  std::thread opens([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    gate.set_value();
  });
  EXPECT_THROW(fail(), Error);
  EXPECT_FALSE(later_ran);
  opens.join();
}

TEST_F(BackendTest, IdleSideStreamSleeps) {
  side_->synchronize();
  const std::clock_t start = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const double busy = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  EXPECT_TRUE(busy <= 0.1) << busy << " s of processor time in 0.3 s of idling";
}

// Not inlined: the compiler may move arithmetic across the change of the control register. As bits, since a comparison
// of floats takes subnormals for zero here too.
[[gnu::noinline]] uint32_t subnormal_times_two() {
  volatile float tiny = 1e-40F;
  return std::bit_cast<uint32_t>(tiny * 2.0F);
}

TEST_F(BackendTest, EveryThreadFlushesSubnormals) {
  uint32_t untouched = 0, side = 1;
  std::thread([&] {
    std::fesetenv(FE_DFL_ENV);  // a thread inherits the environment of the one that starts it
    untouched = subnormal_times_two();
  }).join();
  EXPECT_NE(untouched, 0U) << "without flushing the product is not zero: the test can see the difference";
  EXPECT_EQ(subnormal_times_two(), 0U);
  std::promise<void> done;
  side_->enqueue([&] {
    side = subnormal_times_two();
    done.set_value();
  });
  done.get_future().wait();  // synchronize might run it here
  EXPECT_EQ(side, 0U);

  const auto two = make_cpu_backend(2);
  EXPECT_EQ(omp_get_max_threads(), 2);
  std::vector<uint32_t> products(2, 0);
#pragma omp parallel num_threads(2)
  products[static_cast<size_t>(omp_get_thread_num())] = subnormal_times_two();
  EXPECT_EQ(products, (std::vector<uint32_t>{0, 0}));
}

TEST_F(BackendTest, ThreadsDoNotChangeTheSum) {
  const size_t n = 200001;
  std::vector<float> one(n), two(n), from(n);
  for (size_t i = 0; i < n; ++i) {
    one[i] = two[i] = 1.0F / static_cast<float>(i + 1);
    from[i] = 1.0F / static_cast<float>(2 * i + 1);
  }
  compute_->accumulate(one.data(), from.data(), n);
  const auto threaded = make_cpu_backend(2);
  threaded->compute_stream()->accumulate(two.data(), from.data(), n);
  EXPECT_EQ(one, two);
}

}  // namespace
}  // namespace lockstep
