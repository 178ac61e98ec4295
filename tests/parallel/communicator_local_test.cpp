// Ranks as threads: the conformance suite for 1 to 8 of them, on the CPU's memory and on a device's, and how an abort
// releases them.
#include "parallel/comm/local.h"

#include <atomic>
#include <thread>

#include "parallel/comm/staged.h"
#include "tests/parallel/communicator_conformance.h"
#include "tests/parallel/fake_device.h"
#include "tests/support/errors.h"

namespace lockstep::testing {
namespace {

using test::error_of;

void on_ranks(int ranks, const std::function<void(Communicator&)>& body) {
  const auto comms = make_local(ranks);
  std::vector<std::thread> threads;
  for (const auto& comm : comms) threads.emplace_back([&] { body(*comm); });
  for (std::thread& thread : threads) thread.join();
}

using Body = std::function<void(Communicator&, Backend&)>;

template <int ranks>
struct LocalRanks {
  static void run(const Body& body) {
    on_ranks(ranks, [&](Communicator& comm) {
      const auto backend = make_cpu_backend(1);
      body(comm, *backend);
    });
  }
};

template <int ranks>
struct DeviceRanks {
  static constexpr bool host_waits = true;
  static void run(const Body& body) {
    on_ranks(ranks, [&](Communicator& comm) {
      FakeDevice backend(HostWork::refused);
      body(comm, backend);
    });
  }
};

template <int ranks>
struct StagedRanks {
  static constexpr bool host_waits = true;
  static void run(const Body& body) {
    on_ranks(ranks, [&](Communicator& comm) {
      FakeDevice backend(HostWork::allowed);
      body(*make_staged(comm, backend), backend);
    });
  }
};

using Ranks = ::testing::Types<LocalRanks<1>, LocalRanks<2>, LocalRanks<3>, LocalRanks<4>, LocalRanks<8>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Local, CommunicatorConformance, Ranks);
using OnDevice = ::testing::Types<DeviceRanks<1>, DeviceRanks<2>, DeviceRanks<3>, DeviceRanks<4>, DeviceRanks<8>>;
INSTANTIATE_TYPED_TEST_SUITE_P(LocalOnDevice, CommunicatorConformance, OnDevice);
using Staged = ::testing::Types<StagedRanks<1>, StagedRanks<3>>;
INSTANTIATE_TYPED_TEST_SUITE_P(StagedLocal, CommunicatorConformance, Staged);

TEST(LocalTest, NoRanksAreRefused) { EXPECT_THROW(make_local(0), Error); }

TEST(LocalTest, AbortReleasesWaitingRanks) {
  const Watchdog watchdog("abort", std::chrono::seconds(10));
  std::atomic<int> released{0};
  on_ranks(4, [&](Communicator& comm) {
    const auto half = comm.split(comm.rank() / 2, 0);
    const auto backend = make_cpu_backend(1);
    const auto stream = backend->side_stream();
    std::vector<float> data(1000, 1);
    if (comm.rank() == 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      return half->abort("disk full");
    }
    const auto start = std::chrono::steady_clock::now();
    // Rank 0 waits in a subgroup for rank 1; ranks 2 and 3 wait in the whole group.
    const auto wait = [&] {
      (comm.rank() == 0 ? *half : comm).all_reduce(data.data(), data.size(), *stream);
      stream->synchronize();
    };
    EXPECT_EQ(error_of<Error>(wait), "rank 1: disk full") << "rank " << comm.rank();
    ++released;
    EXPECT_TRUE(std::chrono::steady_clock::now() - start <= std::chrono::seconds(5));
    comm.abort("a later reason does not replace the first");
    EXPECT_EQ(error_of<Error>([&] { comm.all_reduce(data.data(), data.size(), *backend->compute_stream()); }),
              "rank 1: disk full");
    EXPECT_THROW(comm.split(0, 0), Error);
  });
  EXPECT_EQ(released, 3);
}

TEST(LocalTest, AbortReleasesRanksThatWaitOnADevice) {
  const Watchdog watchdog("abort on a device", std::chrono::seconds(10));
  AbortOnADevice abort;
  on_ranks(4, [&](Communicator& comm) {
    FakeDevice backend(HostWork::refused);
    abort.run(comm, backend);
  });
  EXPECT_EQ(abort.released, 3);
}

TEST(LocalTest, OnlyOneRankIsCapturable) {
  EXPECT_TRUE(make_local(1)[0]->capturable());
  EXPECT_FALSE(make_local(2)[0]->capturable());
}

TEST(LocalTest, ReduceScatterInPlace) {
  on_ranks(3, [](Communicator& comm) {
    const auto backend = make_cpu_backend(1);
    const auto stream = backend->side_stream();
    auto data = terms(comm.rank(), 30);
    const auto mine = 10 * static_cast<size_t>(comm.rank());
    comm.reduce_scatter(data.data(), data.data() + mine, 10, *stream);
    stream->synchronize();
    const auto begin = data.begin() + static_cast<std::ptrdiff_t>(mine);
    EXPECT_EQ(std::vector<float>(begin, begin + 10), sums(3, 10, mine));
  });
}

TEST(StagedTest, TakesNewMemoryForLargerCallsWhileSmallerAreUnderWay) {
  on_ranks(2, [](Communicator& comm) {
    FakeDevice backend(HostWork::allowed);
    const auto staged = make_staged(comm, backend);
    EXPECT_EQ(staged->kind(), "local, staged");
    EXPECT_FALSE(staged->capturable());
    const auto stream = backend.side_stream();
    std::deque<Buffer> data;
    for (size_t n = 10; n <= 1000000; n *= 10) {
      data.emplace_back(backend, terms(comm.rank(), n));
      staged->all_reduce(data.back().floats(), n, *stream);
    }
    stream->synchronize();
    for (const Buffer& each : data) EXPECT_EQ(each.read(), sums(2, each.size()));
  });
}

TEST(LocalTest, AFailingRankWithWorkUnderWayGetsToItsAbort) {
  const Watchdog watchdog("unwinding", std::chrono::seconds(20));
  on_ranks(4, [](Communicator& comm) {
    std::vector<float> data(1000, 1);
    const auto backend = make_cpu_backend(1);
    const auto work = [&] {
      const auto stream = backend->side_stream();
      for (int i = 0; i < 20 + 5 * comm.rank(); ++i) comm.all_reduce(data.data(), data.size(), *stream);
      if (comm.rank() % 2 == 1) throw Error("two ranks fail, each with calls queued that no other makes");
      stream->synchronize();
      comm.all_reduce(data.data(), data.size(), *stream);
      stream->synchronize();
    };
    try {
      work();
    } catch (const Error& error) {
      comm.abort(error.what());
    }
  });
}

}  // namespace
}  // namespace lockstep::testing
