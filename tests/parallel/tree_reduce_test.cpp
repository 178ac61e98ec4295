// The canonical tree gives the same bits for every number of ranks, and its test would notice if it did not.
#include "parallel/reduction/tree_reduce.h"

#include <algorithm>
#include <functional>
#include <thread>

#include "core/error.h"
#include "parallel/comm/local.h"
#include "tests/parallel/fake_device.h"
#include "tests/parallel/tree_reference.h"
#include "tests/support/errors.h"
#include "tests/support/watchdog.h"

namespace lockstep::testing {
namespace {

using test::error_of;
using test::says;

void on_ranks(int ranks, const std::function<void(Communicator&, Backend&, Stream&)>& body) {
  const auto comms = make_local(ranks);
  std::vector<std::thread> threads;
  for (const auto& comm : comms) {
    threads.emplace_back([&] {
      const auto backend = make_cpu_backend(1);
      const auto stream = backend->side_stream();
      body(*comm, *backend, *stream);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// From the smallest vectors over the change of method to ranges that no number of ranks divides.
constexpr size_t sizes[] = {1, 7, 1000, 2048, 2049, 5001, 100003, 131072, 131073};

TEST(TreeReduceTest, SameBitsForEveryNumberOfRanks) {
  const Watchdog watchdog("tree", std::chrono::seconds(120));
  for (const size_t n : sizes) {
    for (size_t lanes = 1; lanes <= 64; lanes *= 2) {
      const Lanes values = random_lanes(lanes, n);
      const auto expected = tree_sum(values, 0, lanes);
      for (size_t ranks = 1; ranks <= std::min<size_t>(lanes, 8); ranks *= 2) {
        on_ranks(static_cast<int>(ranks), [&](Communicator& comm, Backend& backend, Stream& stream) {
          const size_t offset = n % 3;  // any alignment
          EXPECT_TRUE(same_bits(reduce_on_rank(comm, stream, backend, values, offset), expected))
              << "lanes " << lanes << " ranks " << ranks << " rank " << comm.rank() << " n " << n;
        });
      }
    }
  }
}

TEST(TreeReduceTest, SameBitsOnADevicesMemory) {
  const Watchdog watchdog("tree on a device", std::chrono::seconds(120));
  for (const size_t n : {size_t{7}, size_t{2049}, size_t{131073}}) {
    const Lanes values = random_lanes(8, n);
    const auto expected = tree_sum(values, 0, 8);
    for (int ranks = 1; ranks <= 8; ranks *= 2) {
      on_ranks(ranks, [&](Communicator& comm, Backend&, Stream&) {
        FakeDevice device(HostWork::refused);
        const auto stream = device.side_stream();
        EXPECT_TRUE(same_bits(reduce_on_rank(comm, *stream, device, values, n % 3), expected))
            << "ranks " << ranks << " rank " << comm.rank() << " n " << n;
      });
    }
  }
}

TEST(TreeReduceTest, ARunOfFewerFloatsThanItWasMadeFor) {
  const Lanes values = random_lanes(4, 9000);
  const auto expected = tree_sum(values, 0, 4);
  on_ranks(4, [&](Communicator& comm, Backend& backend, Stream& stream) {
    TreeAllReduce tree(comm, backend, 9000);
    auto data = values[static_cast<size_t>(comm.rank())];
    for (const auto& [begin, end] : {std::pair<size_t, size_t>{0, 5000}, {5000, 5000}, {5000, 5001}, {5001, 9000}}) {
      tree.run(data.data() + begin, end - begin, stream);
    }
    stream.synchronize();
    EXPECT_TRUE(same_bits(data, expected)) << "in ranges the sum has the bits of the whole";
    EXPECT_THROW(tree.run(data.data(), 9001, stream), Error);
  });
}

TEST(TreeReduceTest, WhatTravelsWholeIsCombinedOverAnyNumberOfRanks) {
  const Watchdog watchdog("whole", std::chrono::seconds(60));
  constexpr size_t n = 1003;
  for (size_t ranks = 1; ranks <= 9; ++ranks) {
    const size_t whole = std::bit_floor(ranks);
    const Lanes values = random_lanes(ranks, n);
    Lanes folded(values.begin(), values.begin() + static_cast<ptrdiff_t>(whole));
    for (size_t rank = whole; rank < ranks; ++rank)
      for (size_t i = 0; i < n; ++i) folded[rank - whole][i] = std::max(folded[rank - whole][i], values[rank][i]);
    std::vector<float> largest = folded[0];
    for (const auto& lane : folded)
      for (size_t i = 0; i < n; ++i) largest[i] = std::max(largest[i], lane[i]);
    for (const bool adds : {true, false}) {
      const Combine most = [](Stream& stream, float* to, const float* from) {
        stream.enqueue([=] {
          for (size_t i = 0; i < n; ++i) to[i] = std::max(to[i], from[i]);
        });
      };
      // Of a power of two, the tree's bits.
      if (adds && ranks != whole) continue;
      const auto expected = adds ? tree_sum(values, 0, ranks) : largest;
      on_ranks(static_cast<int>(ranks), [&](Communicator& comm, Backend&, Stream& stream) {
        auto data = values[static_cast<size_t>(comm.rank())];
        std::vector<float> scratch(n);
        combine_whole(comm, data.data(), n, scratch.data(), adds ? addition(n) : most, stream);
        stream.synchronize();
        EXPECT_TRUE(same_bits(data, expected)) << ranks << " ranks, rank " << comm.rank();
      });
    }
  }
  size_t sent = 0;
  for (int rank = 0; rank < 6; ++rank) sent += sent_whole(6, rank, 10);
  EXPECT_EQ(sent, (2 + 4 * 2 + 2) * 40U) << "two hand theirs over, four exchange twice, two give it back";
  EXPECT_EQ(exchanges_of_whole(6), 4U);
  EXPECT_EQ(exchanges_of_whole(8), 3U);
  EXPECT_EQ(exchanges_of_whole(1), 0U);
}

TEST(TreeReduceTest, OnlyPowersOfTwo) {
  for (const int ranks : {3, 5, 6, 7}) {
    const auto comms = make_local(ranks);
    const auto backend = make_cpu_backend(1);
    EXPECT_TRUE(
        says(error_of([&] { TreeAllReduce tree(*comms[0], *backend, 10); }), {std::to_string(ranks) + " ranks", "4"}));
  }
}

TEST(TreeReduceTest, OrderInsideAPairDoesNotMatter) {
  Lanes values = random_lanes(8, 5001);
  const auto expected = tree_sum(values, 0, 8);
  std::swap(values[4], values[5]);
  EXPECT_TRUE(same_bits(tree_sum(values, 0, 8), expected));
}

TEST(TreeReduce, OwnersAreInTheOrderOfTheirParts) {
  EXPECT_EQ(TreeAllReduce::owners(1), std::vector<int>{0});
  EXPECT_EQ(TreeAllReduce::owners(8), (std::vector<int>{0, 4, 2, 6, 1, 5, 3, 7}));
  for (const int ranks : {2, 4, 16, 64})
    for (const size_t n : {1U, 16U, 333U, 5001U, 100'000U}) {
      int64_t end = 0;
      for (const int rank : TreeAllReduce::owners(ranks)) {
        const Interval part = TreeAllReduce::owned(ranks, rank, n);
        EXPECT_EQ(part.begin, end) << ranks << " ranks, " << n;
        end = part.end;
      }
      EXPECT_EQ(end, static_cast<int64_t>(n)) << ranks << " ranks";
    }
}

// Negative controls: what reproducible mode must not do changes bits on these inputs.

TEST(TreeReduceControls, ARingHasOtherBits) {
  for (const int ranks : {4, 8}) {
    const Lanes values = random_lanes(static_cast<size_t>(ranks), 5001);
    const auto expected = tree_sum(values, 0, static_cast<size_t>(ranks));
    on_ranks(ranks, [&](Communicator& comm, Backend&, Stream& stream) {
      auto data = values[static_cast<size_t>(comm.rank())];
      comm.all_reduce(data.data(), data.size(), stream);
      stream.synchronize();
      EXPECT_FALSE(same_bits(data, expected)) << ranks << " ranks";
    });
  }
}

TEST(TreeReduceControls, SwappedLanesHaveOtherBits) {
  Lanes values = random_lanes(8, 5001);
  const auto expected = tree_sum(values, 0, 8);
  std::swap(values[1], values[2]);
  on_ranks(2, [&](Communicator& comm, Backend& backend, Stream& stream) {
    EXPECT_FALSE(same_bits(reduce_on_rank(comm, stream, backend, values), expected));
  });
}

TEST(TreeReduceControls, OneFlippedBitIsCaught) {
  Lanes values = random_lanes(8, 5001);
  const auto expected = tree_sum(values, 0, 8);
  // The lowest bit of the largest of the eight, so that rounding cannot hide it.
  auto largest = std::ranges::max_element(values, {}, [](const auto& lane) { return std::abs(lane[4000]); });
  float& value = (*largest)[4000];
  value = std::bit_cast<float>(std::bit_cast<uint32_t>(value) ^ 1U);
  on_ranks(4, [&](Communicator& comm, Backend& backend, Stream& stream) {
    EXPECT_FALSE(same_bits(reduce_on_rank(comm, stream, backend, values), expected));
  });
}

}  // namespace
}  // namespace lockstep::testing
