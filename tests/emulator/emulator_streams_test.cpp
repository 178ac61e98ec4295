// The emulator's streams, events and captures: a wait that is missing must be seen.
#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <thread>
#include <vector>

#include "layers/cuda/device.cuh"
#include "tests/emulator/fixture.h"

namespace lockstep::cuda {
namespace {

using EmulatorStreamsTest = EmulatorTest;
EMULATOR_ORDERS(EmulatorStreamsTest);

__global__ void set_kernel(int* to, int value) { *to = value; }
__global__ void copy_kernel(int* to, const int* from) { *to = *from; }

TEST_P(EmulatorStreamsTest, WorkIsDoneWhenSomebodyWaitsAndInTheOrderOfEvents) {
  int* x = device(std::vector{0, 1, 2, 3});
  launch(*side_, {1, 1}, set_kernel, x, 7);
  EXPECT_EQ(host(x, 1)[0], 0);  // a copy waits for no other stream
  launch(*stream_, {1, 1}, copy_kernel, x + 1, x);
  EXPECT_EQ(finished(x, 2), (std::vector{0, 0}));  // no wait for the side: stale
  const auto event = side_->event();
  EXPECT_TRUE(event->reached());
  side_->record(*event);
  EXPECT_FALSE(event->reached());
  launch(*side_, {1, 1}, set_kernel, x, 8);  // after the event
  stream_->wait(*event);
  launch(*stream_, {1, 1}, copy_kernel, x + 1, x);
  EXPECT_EQ(finished(x, 2), (std::vector{7, 7}));
  side_->synchronize();
  EXPECT_EQ(host(x, 1)[0], 8);
}

TEST_P(EmulatorStreamsTest, AWaitTakesTheLatestRecordBeforeIt) {
  int* x = device(std::vector{0, 1, 2, 3});
  const auto event = side_->event();
  stream_->wait(*event);  // never recorded
  launch(*side_, {1, 1}, set_kernel, x, 7);
  side_->record(*event);
  stream_->wait(*event);
  launch(*side_, {1, 1}, set_kernel, x, 8);
  side_->record(*event);
  launch(*stream_, {1, 1}, copy_kernel, x + 1, x);
  EXPECT_EQ(finished(x, 2), (std::vector{7, 7}));
}

/// The sum of a block's elements, in one.
__global__ void sum_kernel(const double* in, double* out) {
  __shared__ double scratch[32];
  const double sum = block_sum(in[threadIdx.x], scratch);
  if (threadIdx.x == 0) *out = sum;
}
__global__ void mean_kernel(double* values, const double* sum) { values[threadIdx.x] = *sum / blockDim.x + 1; }

TEST_P(EmulatorStreamsTest, RanksRunKernelsAtOnceAndWaitForOneAnothersEvents) {
  constexpr int ranks = 3, rounds = 50;
  constexpr unsigned n = 256;
  double* values = device(std::vector<double>(ranks * n, 1));
  double* sums = device(std::vector<double>(ranks));
  std::vector<std::unique_ptr<Stream>> streams;
  std::vector<std::unique_ptr<Event>> summed, taken;
  for (size_t r = 0; r < ranks; ++r) {
    streams.push_back(backend_->compute_stream());
    summed.push_back(streams[r]->event());
    taken.push_back(streams[r]->event());
  }
  std::barrier together(ranks);
  const auto rank_main = [&](size_t rank) {
    const size_t next = (rank + 1) % ranks;
    Stream& stream = *streams[rank];
    for (int round = 0; round < rounds; ++round) {
      launch(stream, {1, n}, sum_kernel, values + rank * n, sums + rank);
      stream.record(*summed[rank]);
      together.arrive_and_wait();
      stream.wait(*summed[next]);
      launch(stream, {1, n}, mean_kernel, values + rank * n, sums + next);
      stream.record(*taken[rank]);
      together.arrive_and_wait();
      stream.wait(*taken[(rank + ranks - 1) % ranks]);  // who reads this rank's sum
      if (round % 7 == static_cast<int>(rank)) stream.synchronize();
    }
    stream.synchronize();
  };
  std::vector<std::thread> threads;
  for (size_t r = 0; r < ranks; ++r) threads.emplace_back(rank_main, r);
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(host(values, ranks * n), std::vector<double>(ranks * n, 1 + rounds));
}

TEST_P(EmulatorStreamsTest, GatherTakesRowsByTheirNumber) {
  for (const size_t width : {3, 4, 700}) {  // one float at a time, one vector, more than a block's threads
    std::vector<float> from(5 * width), expected(3 * width, 0.0F);
    for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<float>(i + 1);
    std::copy_n(from.data() + 4 * width, width, expected.data());
    std::copy_n(from.data() + width, width, expected.data() + 2 * width);
    const float* images = device(from);
    float* to = device(std::vector<float>(3 * width, 7.0F));
    const int* rows = device(std::vector{4, -1, 1});
    stream_->gather(reinterpret_cast<std::byte*>(to), reinterpret_cast<const std::byte*>(images), {rows, 3},
                    width * sizeof(float));
    EXPECT_EQ(finished(to, 3 * width), expected) << width;
  }
}

TEST_P(EmulatorStreamsTest, RowsAreCopiedAddedAndZeroedByPitch) {
  const float* from = device(std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8});
  float* to = device(std::vector<float>(9, 10.0F));
  const auto bytes = [](const float* p) { return reinterpret_cast<std::byte*>(const_cast<float*>(p)); };
  stream_->copy_rows(bytes(to + 1), 16, bytes(from + 1), 12, 8, 2);
  EXPECT_EQ(finished(to, 9), (std::vector<float>{10, 2, 3, 10, 10, 5, 6, 10, 10}));
  stream_->accumulate_rows(DType::f32, bytes(to), 20, bytes(from), 2, 2);
  EXPECT_EQ(finished(to, 9), (std::vector<float>{11, 4, 3, 10, 10, 8, 10, 10, 10}));
  stream_->zero(bytes(to + 2), 12);
  EXPECT_EQ(finished(to, 9), (std::vector<float>{11, 4, 0, 0, 0, 8, 10, 10, 10}));
}

TEST_P(EmulatorStreamsTest, HostWorkIsDoneWithoutBeingAskedFor) {
  std::atomic<bool> done = false;
  stream_->enqueue([&] { done = true; });
  while (!done) std::this_thread::yield();
}

TEST_P(EmulatorStreamsTest, ACaptureRecordsAndItsGraphReplays) {
  int* x = device(std::vector<int>{1, 0, 0});
  int calls = 0;
  const auto fork = stream_->event(), join = side_->event();
  const auto replay = backend_->capture(*stream_, [&] {
    launch(*stream_, {1, 1}, copy_kernel, x + 1, x);
    stream_->record(*fork);
    side_->wait(*fork);
    launch(*side_, {1, 1}, copy_kernel, x + 2, x + 1);
    side_->enqueue([&] { ++calls; });
    side_->record(*join);
    stream_->wait(*join);
  });
  EXPECT_EQ(finished(x, 3), (std::vector{1, 0, 0}));
  for (int round = 2; round < 5; ++round) {
    launch(*stream_, {1, 1}, set_kernel, x, round);
    replay();
    EXPECT_EQ(host(x + 2, 1)[0], round == 2 ? 0 : round - 1);
    EXPECT_EQ(finished(x, 3), (std::vector{round, round, round}));
  }
  EXPECT_EQ(calls, 3);
}

TEST_P(EmulatorStreamsTest, AMissingEdgeOfAGraphIsSeenInReverse) {
  int* x = device(std::vector<int>{1, 0, 0});
  const auto fork = stream_->event(), join = side_->event();
  const auto replay = backend_->capture(*stream_, [&] {
    stream_->record(*fork);
    side_->wait(*fork);
    launch(*stream_, {1, 1}, copy_kernel, x + 1, x);
    launch(*side_, {1, 1}, copy_kernel, x + 2, x + 1);  // should have waited for the kernel above
    side_->record(*join);
    stream_->wait(*join);
  });
  replay();
  EXPECT_EQ(finished(x, 3)[2], GetParam() == Order::reverse ? 0 : 1);
}

TEST_P(EmulatorStreamsTest, CapturesThatCudaRefusesAreRefused) {
  int* x = device(std::vector<int>{1, 0, 0});
  const auto fork = stream_->event(), early = side_->event(), other = side_->event();
  side_->record(*early);
  const auto refused = [&](const char* why, auto body) {
    const std::string error = test::error_of<Error>([&] { backend_->capture(*stream_, body); });
    EXPECT_TRUE(test::says(error, {why}));
    stream_->synchronize();  // neither stream captures any more
    side_->synchronize();
  };
  refused("unjoined", [&] {
    stream_->record(*fork);
    side_->wait(*fork);
    launch(*side_, {1, 1}, copy_kernel, x, x + 1);
  });
  refused("uncaptured work", [&] { stream_->wait(*early); });
  refused("not permitted", [&] { stream_->synchronize(); });
  refused("not permitted", [] {
    void* memory = nullptr;
    check(cudaMalloc(&memory, 64), "cudaMalloc");
  });
  refused("not permitted", [&] { static_cast<void>(early->reached()); });
  refused("previous error", [&] {
    try {
      stream_->synchronize();
    } catch (const Error&) {
    }
    launch(*stream_, {1, 1}, copy_kernel, x, x + 1);
  });
  EXPECT_THROW(stream_->wait(*fork), Error);  // last recorded in a capture that is over
  std::thread unconcerned;
  static_cast<void>(backend_->capture(*stream_, [&] {
    unconcerned = std::thread([&] { Arena arena(*backend_, 64); });
    unconcerned.join();
  }));
}

}  // namespace
}  // namespace lockstep::cuda
