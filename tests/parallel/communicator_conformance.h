// What every communicator must do, as one suite over a factory. A factory is a struct with
//   static void run(const std::function<void(Communicator&, Backend&)>& body);
// that calls `body` on every rank of a communicator (all ranks of this process, each on its own thread) with the
// backend that buffers and streams are to be made of. It may say
//   static constexpr bool host_waits = true;   // calls wait for the other ranks' calls
//   static std::string missing();              // why it cannot run here, empty where it can
// Inputs are small integers, so that sums are exact whatever the order of additions.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "core/backend.h"
#include "core/error.h"
#include "parallel/comm/communicator.h"
#include "tests/parallel/device_buffer.h"
#include "tests/support/errors.h"
#include "tests/support/watchdog.h"

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

inline std::vector<float> none(size_t n) { return std::vector<float>(n, -1); }

template <class Factory>
class CommunicatorConformance : public ::testing::Test {
 protected:
  using Body = std::function<void(Communicator&, Backend&, Stream&)>;

  void SetUp() override {
    if constexpr (requires { Factory::missing(); }) {
      if (const std::string why = Factory::missing(); !why.empty()) GTEST_SKIP() << why;
    }
  }
  /// Once on the compute stream (the CPU's runs work in the caller), once on a stream beside it.
  static void run(const Body& body) {
    for (const bool side : {false, true}) {
      Factory::run([&](Communicator& comm, Backend& backend) {
        const auto stream = side ? backend.side_stream() : backend.compute_stream();
        body(comm, backend, *stream);
        stream->synchronize();
      });
    }
  }
  Watchdog watchdog_{"communicator conformance"};
};

inline constexpr size_t sizes[] = {0, 1, 7, 1000, size_t{1} << 20};

TYPED_TEST_SUITE_P(CommunicatorConformance);

TYPED_TEST_P(CommunicatorConformance, AllReduce) {
  this->run([](Communicator& comm, Backend& backend, Stream& stream) {
    for (const size_t n : sizes) {
      Buffer data(backend, terms(comm.rank(), n));
      comm.all_reduce(data.floats(), n, stream);
      stream.synchronize();
      EXPECT_EQ(data.read(), sums(comm.size(), n)) << "n " << n;
    }
  });
}

TYPED_TEST_P(CommunicatorConformance, ReduceScatter) {
  this->run([](Communicator& comm, Backend& backend, Stream& stream) {
    for (const size_t n : sizes) {
      Buffer in(backend, terms(comm.rank(), n * static_cast<size_t>(comm.size())));
      Buffer out(backend, none(n));
      comm.reduce_scatter(in.floats(), out.floats(), n, stream);
      stream.synchronize();
      EXPECT_EQ(out.read(), sums(comm.size(), n, n * static_cast<size_t>(comm.rank()))) << "n " << n;
    }
  });
}

TYPED_TEST_P(CommunicatorConformance, AllGather) {
  this->run([](Communicator& comm, Backend& backend, Stream& stream) {
    for (const size_t n : sizes) {
      for (const bool in_place : {false, true}) {
        const auto me = static_cast<size_t>(comm.rank());
        const auto values = terms(comm.rank(), n);
        auto before = none(n * static_cast<size_t>(comm.size()));
        if (in_place) std::ranges::copy(values, before.begin() + static_cast<std::ptrdiff_t>(n * me));
        Buffer mine(backend, values), all(backend, before);
        comm.all_gather(in_place ? all.bytes(n * me) : mine.bytes(), all.bytes(), n * sizeof(float), stream);
        stream.synchronize();
        std::vector<float> expected;
        for (int rank = 0; rank < comm.size(); ++rank) {
          const auto part = terms(rank, n);
          expected.insert(expected.end(), part.begin(), part.end());
        }
        EXPECT_EQ(all.read(), expected) << "n " << n << (in_place ? " in place" : "");
      }
    }
  });
}

TYPED_TEST_P(CommunicatorConformance, AllToAll) {
  this->run([](Communicator& comm, Backend& backend, Stream& stream) {
    for (const size_t n : sizes) {
      const auto ranks = static_cast<size_t>(comm.size());
      Buffer in(backend, terms(comm.rank(), n * ranks)), out(backend, none(n * ranks));
      comm.all_to_all(in.bytes(), out.bytes(), n * sizeof(float), stream);
      stream.synchronize();
      std::vector<float> expected;
      for (int rank = 0; rank < comm.size(); ++rank) {
        const auto part = terms(rank, n, n * static_cast<size_t>(comm.rank()));
        expected.insert(expected.end(), part.begin(), part.end());
      }
      EXPECT_EQ(out.read(), expected) << "n " << n;
    }
  });
}

TYPED_TEST_P(CommunicatorConformance, BroadcastFromEveryRoot) {
  this->run([](Communicator& comm, Backend& backend, Stream& stream) {
    for (const size_t n : sizes) {
      for (int root = 0; root < comm.size(); ++root) {
        Buffer data(backend, terms(comm.rank(), n));
        comm.broadcast(data.bytes(), n * sizeof(float), root, stream);
        stream.synchronize();
        EXPECT_EQ(data.read(), terms(root, n)) << "n " << n << " root " << root;
      }
    }
  });
}

TYPED_TEST_P(CommunicatorConformance, ExchangeOfUnequalSizesInOpposedOrders) {
  this->run([](Communicator& comm, Backend& backend, Stream& stream) {
    const int ranks = comm.size(), me = comm.rank();
    const auto length = [](int from, int to) {
      return static_cast<size_t>(from * 1000 + to * 70) % 3001 * (from == 0 ? 100 : 1);
    };
    std::deque<Buffer> out, in;
    for (int peer = 0; peer < ranks; ++peer) {
      out.emplace_back(backend, terms(me, length(me, peer)));
      in.emplace_back(backend, none(length(peer, me)));
    }
    std::vector<Message> messages;
    for (int i = 0; i < ranks; ++i) {
      const int peer = me % 2 == 0 ? i : ranks - 1 - i;  // even and odd ranks list their peers the other way round
      auto &send = out[static_cast<size_t>(peer)], &receive = in[static_cast<size_t>(peer)];
      messages.push_back(
          {peer, send.bytes(), send.size() * sizeof(float), receive.bytes(), receive.size() * sizeof(float)});
    }
    comm.exchange(messages, stream);
    stream.synchronize();
    for (int peer = 0; peer < ranks; ++peer)
      EXPECT_EQ(in[static_cast<size_t>(peer)].read(), terms(peer, length(peer, me)));
  });
}

TYPED_TEST_P(CommunicatorConformance, SeveralMessagesToOnePeerKeepTheirOrder) {
  this->run([](Communicator& comm, Backend& backend, Stream& stream) {
    const int next = (comm.rank() + 1) % comm.size(), before = (comm.rank() + comm.size() - 1) % comm.size();
    std::vector<float> values{10, 20, 30};
    for (float& value : values) value += static_cast<float>(comm.rank());
    Buffer out(backend, values), in(backend, none(3));
    std::vector<Message> messages;
    for (size_t i = 0; i < 3; ++i) {
      messages.push_back({.peer = next, .send = out.bytes(i), .send_bytes = sizeof(float)});
      messages.push_back({.peer = before, .receive = in.bytes(i), .receive_bytes = sizeof(float)});
    }
    comm.exchange(messages, stream);
    stream.synchronize();
    const auto from = static_cast<float>(before);
    EXPECT_EQ(in.read(), (std::vector<float>{10 + from, 20 + from, 30 + from}));
  });
}

TYPED_TEST_P(CommunicatorConformance, ManySmallCalls) {
  this->run([](Communicator& comm, Backend& backend, Stream& stream) {
    Buffer mine(backend, none(3)), all(backend, none(3 * static_cast<size_t>(comm.size())));
    for (int round = 0; round < 1000; ++round) {
      mine.write(std::vector<float>(3, static_cast<float>(round * comm.size() + comm.rank())));
      comm.all_gather(mine.bytes(), all.bytes(), 3 * sizeof(float), stream);
      comm.all_reduce(mine.floats(), 3, stream);
      stream.synchronize();
      const auto gathered = all.read(), reduced = mine.read();
      float sum = 0;
      for (int rank = 0; rank < comm.size(); ++rank) {
        const auto expected = static_cast<float>(round * comm.size() + rank);
        ASSERT_EQ(gathered[3 * static_cast<size_t>(rank) + 2], expected) << "round " << round;
        sum += expected;
      }
      ASSERT_EQ(reduced[1], sum) << "round " << round;
    }
  });
}

TYPED_TEST_P(CommunicatorConformance, CallsFollowEachOtherWithoutTheHost) {
  this->run([](Communicator& comm, Backend& backend, Stream& stream) {
    // Every call reads what the one before has written, here and on the other ranks, and overwrites what it has read.
    const size_t n = 5000;
    Buffer a(backend, std::vector<float>(n, static_cast<float>(comm.rank()))), b(backend, none(n));
    const int next = (comm.rank() + 1) % comm.size(), before = (comm.rank() + comm.size() - 1) % comm.size();
    for (int round = 0; round < 50; ++round) {
      Buffer &from = round % 2 ? b : a, &to = round % 2 ? a : b;
      const Message around[] = {{.peer = next, .send = from.bytes(), .send_bytes = n * sizeof(float)},
                                {.peer = before, .receive = to.bytes(), .receive_bytes = n * sizeof(float)}};
      comm.exchange(around, stream);
    }
    stream.synchronize();
    const int origin = ((comm.rank() - 50) % comm.size() + comm.size()) % comm.size();
    EXPECT_EQ(a.read(), std::vector<float>(n, static_cast<float>(origin)));
  });
}

TYPED_TEST_P(CommunicatorConformance, SplitIntoRowsAndColumns) {
  this->run([](Communicator& comm, Backend& backend, Stream& stream) {
    const int columns = 2, row = comm.rank() / columns, column = comm.rank() % columns;
    const auto along_row = comm.split(row, column);
    const auto along_column = comm.split(column, -row);  // the key turns the order round
    const auto members = [&](Communicator& part) {
      Buffer all(backend, none(static_cast<size_t>(part.size()))), me(backend, {static_cast<float>(comm.rank())});
      part.all_gather(me.bytes(), all.bytes(), sizeof(float), stream);
      stream.synchronize();
      return all.read();
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
  if constexpr (requires { TypeParam::host_waits; }) GTEST_SKIP() << "its calls wait for the other ranks' calls";
  TypeParam::run([](Communicator& comm, Backend& backend) {
    const auto stream = backend.side_stream();
    Buffer data(backend, terms(comm.rank(), 100));
    comm.all_reduce(data.floats(), 100, *stream);  // the first call may connect the ranks
    stream->synchronize();
    data.write(terms(comm.rank(), 100));
    const auto start = std::chrono::steady_clock::now();
    const bool late = comm.rank() == comm.size() - 1 && comm.size() > 1;
    if (late) std::this_thread::sleep_for(std::chrono::milliseconds(500));
    comm.all_reduce(data.floats(), 100, *stream);
    const std::chrono::duration<double> enqueued = std::chrono::steady_clock::now() - start;
    EXPECT_TRUE(late || enqueued.count() <= 0.4)
        << "the call took " << enqueued.count() << " s: it waited for the late rank";
    stream->synchronize();
    EXPECT_EQ(data.read(), sums(comm.size(), 100));
  });
}

TYPED_TEST_P(CommunicatorConformance, WrongPeersAreRefused) {
  this->run([](Communicator& comm, Backend& backend, Stream& stream) {
    Buffer value(backend, none(1));
    for (const int peer : {-1, comm.size()}) {
      const Message message{.peer = peer, .send = value.bytes(), .send_bytes = sizeof(float)};
      EXPECT_THROW(comm.exchange({&message, 1}, stream), Error);
      EXPECT_THROW(comm.broadcast(value.bytes(), sizeof(float), peer, stream), Error);
    }
    stream.synchronize();
  });
}

TYPED_TEST_P(CommunicatorConformance, UnequalBytesAreAnError) {
  // Sent to oneself, so that the error leaves no peer waiting.
  TypeParam::run([&](Communicator& comm, Backend& backend) {
    Buffer mine(backend, none(2)), received(backend, none(2));
    const auto stream = backend.side_stream();
    const Message message{comm.rank(), mine.bytes(), 4, received.bytes(), 8};
    const auto send = [&] {
      comm.exchange({&message, 1}, *stream);
      stream->synchronize();
    };
    EXPECT_THROW(send(), Error);
  });
}

/// Four ranks on a device, of which the last gives up while the others wait for it.
struct AbortOnADevice {
  std::atomic<int> called{0}, released{0};

  void run(Communicator& comm, Backend& backend) {
    const auto stream = backend.side_stream();
    Buffer data(backend, terms(comm.rank(), 1000));
    comm.all_reduce(data.floats(), 1000, *stream);
    ++called;
    while (called < 4) std::this_thread::yield();  // an abort would reach those who are still in their first call
    if (comm.rank() == 3) {
      stream->synchronize();  // others may still read what is freed here
      return comm.abort("disk full");
    }
    EXPECT_EQ(test::error_of<Error>([&] { comm.all_reduce(data.floats(), 1000, *stream); }), "rank 3: disk full");
    ++released;
    stream->synchronize();  // what was enqueued before ends
  }
};

REGISTER_TYPED_TEST_SUITE_P(CommunicatorConformance, AllReduce, ReduceScatter, AllGather, AllToAll,
                            BroadcastFromEveryRoot, ExchangeOfUnequalSizesInOpposedOrders,
                            SeveralMessagesToOnePeerKeepTheirOrder, ManySmallCalls, CallsFollowEachOtherWithoutTheHost,
                            SplitIntoRowsAndColumns, TheHostDoesNotWait, WrongPeersAreRefused, UnequalBytesAreAnError);

}  // namespace lockstep::testing
