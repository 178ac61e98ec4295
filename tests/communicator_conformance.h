// What every communicator must do, as one suite over a factory. A factory is a struct with
//   static void run(const std::function<void(Communicator&)>& body);
// that calls `body` on every rank of a communicator (all ranks of this process, each on its own thread). Inputs are
// small integers, so that sums are exact whatever the order of additions.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "core/backend.h"
#include "core/error.h"
#include "parallel/comm/communicator.h"
#include "tests/watchdog.h"

namespace lockstep::testing {

/// What rank `rank` holds at index `i`: differs between ranks and neighbours, and any sum of it is exact.
inline float term(int rank, size_t i) { return static_cast<float>((rank + 1) * 3 + static_cast<int>(i % 97)); }

inline std::vector<float> terms(int rank, size_t n, size_t first = 0) {
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = term(rank, first + i);
  return values;
}

inline std::vector<float> sums(int ranks, size_t n, size_t first = 0) {
  std::vector<float> values(n);
  for (int rank = 0; rank < ranks; ++rank) {
    for (size_t i = 0; i < n; ++i) values[i] += term(rank, first + i);
  }
  return values;
}

inline std::byte* bytes_of(std::vector<float>& values) { return reinterpret_cast<std::byte*>(values.data()); }

template <class Factory>
class CommunicatorConformance : public ::testing::Test {
 protected:
  using Body = std::function<void(Communicator&, Stream&)>;
  /// Once with work run in the caller, once with work on a stream of its own.
  static void run(const Body& body) {
    for (const bool side : {false, true}) {
      Factory::run([&](Communicator& comm) {
        const auto backend = make_cpu_backend(1);
        const auto stream = side ? backend->side_stream() : backend->compute_stream();
        body(comm, *stream);
        stream->synchronize();
      });
    }
  }
  Watchdog watchdog_{"communicator conformance"};
};

inline constexpr size_t sizes[] = {0, 1, 7, 1000, size_t{1} << 20};

TYPED_TEST_SUITE_P(CommunicatorConformance);

TYPED_TEST_P(CommunicatorConformance, AllReduce) {
  this->run([](Communicator& comm, Stream& stream) {
    for (const size_t n : sizes) {
      auto data = terms(comm.rank(), n);
      comm.all_reduce(data.data(), n, stream);
      stream.synchronize();
      EXPECT_EQ(data, sums(comm.size(), n)) << "n " << n;
    }
  });
}

TYPED_TEST_P(CommunicatorConformance, ReduceScatter) {
  this->run([](Communicator& comm, Stream& stream) {
    for (const size_t n : sizes) {
      const auto in = terms(comm.rank(), n * static_cast<size_t>(comm.size()));
      std::vector<float> out(n, -1);
      comm.reduce_scatter(in.data(), out.data(), n, stream);
      stream.synchronize();
      EXPECT_EQ(out, sums(comm.size(), n, n * static_cast<size_t>(comm.rank()))) << "n " << n;
    }
  });
}

TYPED_TEST_P(CommunicatorConformance, AllGather) {
  this->run([](Communicator& comm, Stream& stream) {
    for (const size_t n : sizes) {
      for (const bool in_place : {false, true}) {
        const auto me = static_cast<size_t>(comm.rank());
        auto mine = terms(comm.rank(), n);
        std::vector<float> all(n * static_cast<size_t>(comm.size()), -1), expected;
        if (in_place) std::ranges::copy(mine, all.begin() + static_cast<std::ptrdiff_t>(n * me));
        comm.all_gather(in_place ? bytes_of(all) + n * me * sizeof(float) : bytes_of(mine), bytes_of(all),
                        n * sizeof(float), stream);
        stream.synchronize();
        for (int rank = 0; rank < comm.size(); ++rank) {
          const auto part = terms(rank, n);
          expected.insert(expected.end(), part.begin(), part.end());
        }
        EXPECT_EQ(all, expected) << "n " << n << (in_place ? " in place" : "");
      }
    }
  });
}

TYPED_TEST_P(CommunicatorConformance, AllToAll) {
  this->run([](Communicator& comm, Stream& stream) {
    for (const size_t n : sizes) {
      const auto ranks = static_cast<size_t>(comm.size());
      auto in = terms(comm.rank(), n * ranks);
      std::vector<float> out(n * ranks, -1), expected;
      comm.all_to_all(bytes_of(in), bytes_of(out), n * sizeof(float), stream);
      stream.synchronize();
      for (int rank = 0; rank < comm.size(); ++rank) {
        const auto part = terms(rank, n, n * static_cast<size_t>(comm.rank()));
        expected.insert(expected.end(), part.begin(), part.end());
      }
      EXPECT_EQ(out, expected) << "n " << n;
    }
  });
}

TYPED_TEST_P(CommunicatorConformance, BroadcastFromEveryRoot) {
  this->run([](Communicator& comm, Stream& stream) {
    for (const size_t n : sizes) {
      for (int root = 0; root < comm.size(); ++root) {
        auto data = terms(comm.rank(), n);
        comm.broadcast(bytes_of(data), n * sizeof(float), root, stream);
        stream.synchronize();
        EXPECT_EQ(data, terms(root, n)) << "n " << n << " root " << root;
      }
    }
  });
}

TYPED_TEST_P(CommunicatorConformance, ExchangeOfUnequalSizesInOpposedOrders) {
  this->run([](Communicator& comm, Stream& stream) {
    const int ranks = comm.size(), me = comm.rank();
    const auto length = [](int from, int to) {
      return static_cast<size_t>(from * 1000 + to * 70) % 3001 * (from == 0 ? 100 : 1);
    };
    std::vector<std::vector<float>> out, in;
    for (int peer = 0; peer < ranks; ++peer) {
      out.push_back(terms(me, length(me, peer)));
      in.emplace_back(length(peer, me), -1.0F);
    }
    std::vector<Message> messages;
    for (int i = 0; i < ranks; ++i) {
      const int peer = me % 2 == 0 ? i : ranks - 1 - i;  // even and odd ranks list their peers the other way round
      auto &send = out[static_cast<size_t>(peer)], &receive = in[static_cast<size_t>(peer)];
      messages.push_back(
          {peer, bytes_of(send), send.size() * sizeof(float), bytes_of(receive), receive.size() * sizeof(float)});
    }
    comm.exchange(messages, stream);
    stream.synchronize();
    for (int peer = 0; peer < ranks; ++peer) EXPECT_EQ(in[static_cast<size_t>(peer)], terms(peer, length(peer, me)));
  });
}

TYPED_TEST_P(CommunicatorConformance, SeveralMessagesToOnePeerKeepTheirOrder) {
  this->run([](Communicator& comm, Stream& stream) {
    const int next = (comm.rank() + 1) % comm.size(), before = (comm.rank() + comm.size() - 1) % comm.size();
    std::vector<float> out{10, 20, 30}, in(3);
    for (float& value : out) value += static_cast<float>(comm.rank());
    std::vector<Message> messages;
    for (size_t i = 0; i < 3; ++i) {
      messages.push_back({.peer = next, .send = bytes_of(out) + i * sizeof(float), .send_bytes = sizeof(float)});
      messages.push_back({.peer = before, .receive = bytes_of(in) + i * sizeof(float), .receive_bytes = sizeof(float)});
    }
    comm.exchange(messages, stream);
    stream.synchronize();
    const auto from = static_cast<float>(before);
    EXPECT_EQ(in, (std::vector<float>{10 + from, 20 + from, 30 + from}));
  });
}

TYPED_TEST_P(CommunicatorConformance, ManySmallCalls) {
  this->run([](Communicator& comm, Stream& stream) {
    std::vector<float> mine(3), all(3 * static_cast<size_t>(comm.size()));
    for (int round = 0; round < 1000; ++round) {
      for (float& value : mine) value = static_cast<float>(round * comm.size() + comm.rank());
      comm.all_gather(bytes_of(mine), bytes_of(all), 3 * sizeof(float), stream);
      comm.all_reduce(mine.data(), 3, stream);
      stream.synchronize();
      float sum = 0;
      for (int rank = 0; rank < comm.size(); ++rank) {
        const auto expected = static_cast<float>(round * comm.size() + rank);
        ASSERT_EQ(all[3 * static_cast<size_t>(rank) + 2], expected) << "round " << round;
        sum += expected;
      }
      ASSERT_EQ(mine[1], sum) << "round " << round;
    }
  });
}

TYPED_TEST_P(CommunicatorConformance, SplitIntoRowsAndColumns) {
  this->run([](Communicator& comm, Stream& stream) {
    const int columns = 2, row = comm.rank() / columns, column = comm.rank() % columns;
    const auto along_row = comm.split(row, column);
    const auto along_column = comm.split(column, -row);  // the key turns the order round
    const auto members = [&](Communicator& part) {
      std::vector<float> all(static_cast<size_t>(part.size())), me{static_cast<float>(comm.rank())};
      part.all_gather(bytes_of(me), bytes_of(all), sizeof(float), stream);
      stream.synchronize();
      return all;
    };
    std::vector<float> row_expected, column_expected;
    for (int rank = 0; rank < comm.size(); ++rank) {
      if (rank / columns == row) row_expected.push_back(static_cast<float>(rank));
      if (rank % columns == column) column_expected.insert(column_expected.begin(), static_cast<float>(rank));
    }
    EXPECT_EQ(members(*along_row), row_expected);
    EXPECT_EQ(members(*along_column), column_expected);
    EXPECT_EQ(along_row->kind(), comm.kind());
    EXPECT_THROW(comm.split(-1, 0), Error);
  });
}

TYPED_TEST_P(CommunicatorConformance, TheHostDoesNotWait) {
  TypeParam::run([](Communicator& comm) {
    const auto backend = make_cpu_backend(1);
    const auto stream = backend->side_stream();
    auto data = terms(comm.rank(), 100);
    const auto start = std::chrono::steady_clock::now();
    const bool late = comm.rank() == comm.size() - 1 && comm.size() > 1;
    if (late) std::this_thread::sleep_for(std::chrono::milliseconds(500));
    comm.all_reduce(data.data(), 100, *stream);
    const std::chrono::duration<double> enqueued = std::chrono::steady_clock::now() - start;
    EXPECT_TRUE(late || enqueued.count() <= 0.4)
        << "the call took " << enqueued.count() << " s: it waited for the late rank";
    stream->synchronize();
    EXPECT_EQ(data, sums(comm.size(), 100));
  });
}

TYPED_TEST_P(CommunicatorConformance, WrongPeersAreRefused) {
  this->run([](Communicator& comm, Stream& stream) {
    float value = 0;
    auto* bytes = reinterpret_cast<std::byte*>(&value);
    for (const int peer : {-1, comm.size()}) {
      const Message message{.peer = peer, .send = bytes, .send_bytes = sizeof value};
      EXPECT_THROW(comm.exchange({&message, 1}, stream), Error);
      EXPECT_THROW(comm.broadcast(bytes, sizeof value, peer, stream), Error);
    }
  });
}

TYPED_TEST_P(CommunicatorConformance, UnequalBytesAreAnError) {
  // Sent to oneself, so that the error leaves no peer waiting.
  TypeParam::run([&](Communicator& comm) {
    std::vector<float> mine(2, 1), received(2);
    const auto backend = make_cpu_backend(1);
    const auto stream = backend->side_stream();
    const Message message{comm.rank(), bytes_of(mine), 4, bytes_of(received), 8};
    comm.exchange({&message, 1}, *stream);
    EXPECT_THROW(stream->synchronize(), Error);
  });
}

REGISTER_TYPED_TEST_SUITE_P(CommunicatorConformance, AllReduce, ReduceScatter, AllGather, AllToAll,
                            BroadcastFromEveryRoot, ExchangeOfUnequalSizesInOpposedOrders,
                            SeveralMessagesToOnePeerKeepTheirOrder, ManySmallCalls, SplitIntoRowsAndColumns,
                            TheHostDoesNotWait, WrongPeersAreRefused, UnequalBytesAreAnError);

}  // namespace lockstep::testing
