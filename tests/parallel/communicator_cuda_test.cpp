// Communicators on GPUs: ranks that share one as threads, NCCL with a GPU each, staging; and the canonical tree there.
#include <atomic>
#include <thread>

#include "launch/backends/backends.h"
#include "parallel/comm/local.h"
#include "parallel/comm/staged.h"
#include "tests/parallel/communicator_conformance.h"
#include "tests/parallel/tree_reference.h"
#include "tests/support/errors.h"

namespace lockstep::testing {
namespace {

using test::error_of;
using test::says;

using Body = std::function<void(Communicator&, Backend&)>;

std::string no_gpu() { return gpus().empty() ? "no GPU (" + gpu_status() + ")" : std::string(); }

std::string no_nccl() { return !gpus().empty() && !cuda_backend().communicates() ? "built without NCCL" : no_gpu(); }

enum class Gpu : unsigned char { shared, own };

void on_gpus(int ranks, Gpu gpu, const Body& body) {
  const auto comms = make_local(ranks);
  std::vector<std::thread> threads;
  for (const auto& comm : comms) {
    threads.emplace_back([&] {
      try {
        const auto backend = cuda_backend().make({.device = gpu == Gpu::own ? comm->rank() : 0});
        body(*comm, *backend);
      } catch (const std::exception& error) {
        ADD_FAILURE() << "rank " << comm->rank() << ": " << error.what();
        comm->abort(error.what());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

template <int ranks>
struct LocalRanks {
  static constexpr bool host_waits = true;
  static std::string missing() { return no_gpu(); }
  static void run(const Body& body) { on_gpus(ranks, Gpu::shared, body); }
};

template <int ranks>
struct StagedRanks {
  static constexpr bool host_waits = true;
  static std::string missing() { return no_gpu(); }
  static void run(const Body& body) {
    on_gpus(ranks, Gpu::shared,
            [&](Communicator& comm, Backend& backend) { body(*make_staged(comm, backend), backend); });
  }
};

struct NcclRanks {
  static std::string missing() { return no_nccl(); }
  static void run(const Body& body) {
    on_gpus(static_cast<int>(gpus().size()), Gpu::own,
            [&](Communicator& comm, Backend& backend) { body(*cuda_backend().communicator(comm), backend); });
  }
};

using Local = ::testing::Types<LocalRanks<1>, LocalRanks<2>, LocalRanks<3>, LocalRanks<4>, LocalRanks<8>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Local, CommunicatorConformance, Local);
INSTANTIATE_TYPED_TEST_SUITE_P(Staged, CommunicatorConformance, ::testing::Types<StagedRanks<2>>);
INSTANTIATE_TYPED_TEST_SUITE_P(Nccl, CommunicatorConformance, ::testing::Types<NcclRanks>);

class CommunicatorCudaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = no_gpu(); !why.empty()) GTEST_SKIP() << why;
  }
  Watchdog watchdog_{"communicators on GPUs", std::chrono::seconds(120)};
};

TEST_F(CommunicatorCudaTest, TheTreeHasTheBitsOfTheDefinition) {
  for (const size_t n : {size_t{1}, size_t{7}, size_t{2049}, size_t{5001}, size_t{131073}, size_t{1} << 20}) {
    const Lanes values = random_lanes(16, n);
    const auto expected = tree_sum(values, 0, 16);
    for (int ranks = 1; ranks <= 8; ranks *= 2) {
      on_gpus(ranks, Gpu::shared, [&](Communicator& comm, Backend& backend) {
        const auto stream = backend.side_stream();
        EXPECT_TRUE(same_bits(reduce_on_rank(comm, *stream, backend, values, n % 3), expected))
            << "ranks " << ranks << " rank " << comm.rank() << " n " << n;
      });
    }
  }
}

TEST_F(CommunicatorCudaTest, TheTreeOverNcclHasTheBitsOfTheDefinition) {
  if (const std::string why = no_nccl(); !why.empty()) GTEST_SKIP() << why;
  const int ranks = static_cast<int>(std::bit_floor(gpus().size()));
  const Lanes values = random_lanes(16, 100003);
  const auto expected = tree_sum(values, 0, 16);
  on_gpus(ranks, Gpu::own, [&](Communicator& comm, Backend& backend) {
    const auto nccl = cuda_backend().communicator(comm);
    const auto stream = backend.side_stream();
    EXPECT_TRUE(same_bits(reduce_on_rank(*nccl, *stream, backend, values), expected)) << "rank " << comm.rank();
  });
}

TEST_F(CommunicatorCudaTest, WhatIsSentNeedNotBeTakenBeforeOthersSend) {
  constexpr size_t n = 1000;
  on_gpus(2, Gpu::shared, [&](Communicator& comm, Backend& backend) {
    const auto stream = backend.side_stream();
    const int peer = 1 - comm.rank();
    std::vector<std::unique_ptr<Buffer>> out, in;
    std::vector<std::unique_ptr<Sending>> under_way;
    for (const size_t k : {size_t{0}, size_t{1}, size_t{2}}) {
      out.push_back(std::make_unique<Buffer>(backend, terms(comm.rank(), n, k)));
      in.push_back(std::make_unique<Buffer>(backend, none(n)));
      under_way.push_back(
          comm.send({.peer = peer, .send = out.back()->bytes(), .send_bytes = n * sizeof(float)}, *stream));
    }
    for (const auto& buffer : in) {
      const Message message{.peer = peer, .receive = buffer->bytes(), .receive_bytes = n * sizeof(float)};
      comm.exchange({&message, 1}, *stream);
    }
    for (const auto& sending : under_way) sending->finish(*stream);
    // Written again when the peer's device has read it, and not before.
    Buffer other(backend, none(n));
    for (const auto& buffer : out) stream->copy(buffer->bytes(), other.bytes(), n * sizeof(float));
    stream->synchronize();
    for (const size_t k : {size_t{0}, size_t{1}, size_t{2}}) EXPECT_EQ(in[k]->read(), terms(peer, n, k));
    // What nobody takes is withdrawn, and another message comes in its place.
    std::ignore = comm.send({.peer = peer, .send = out[0]->bytes(), .send_bytes = sizeof(float)}, *stream);
    const Message message{.peer = peer,
                          .send = out[1]->bytes(),
                          .send_bytes = n * sizeof(float),
                          .receive = in[1]->bytes(),
                          .receive_bytes = n * sizeof(float)};
    comm.exchange({&message, 1}, *stream);
    stream->synchronize();
    EXPECT_EQ(in[1]->read(), none(n));
  });
}

TEST_F(CommunicatorCudaTest, AbortReleasesRanksThatWait) {
  AbortOnADevice abort;
  on_gpus(4, Gpu::shared, [&](Communicator& comm, Backend& backend) { abort.run(comm, backend); });
  EXPECT_EQ(abort.released, 3);
}

TEST_F(CommunicatorCudaTest, AbortEndsWhatNcclHasUnderWay) {
  if (const std::string why = no_nccl(); !why.empty()) GTEST_SKIP() << why;
  const int ranks = static_cast<int>(gpus().size());
  on_gpus(ranks, Gpu::own, [&](Communicator& comm, Backend& backend) {
    const auto nccl = cuda_backend().communicator(comm);
    const auto stream = backend.side_stream();
    Buffer data(backend, terms(comm.rank(), 1000));
    nccl->all_reduce(data.floats(), 1000, *stream);
    stream->synchronize();
    nccl->check();
    if (comm.rank() == ranks - 1)
      nccl->abort("disk full");
    else
      error_of<Error>([&] { nccl->all_reduce(data.floats(), 1000, *stream); });  // may or may not be enqueued in time
    stream->synchronize();
    EXPECT_EQ(error_of<Error>([&] {
                for (int tries = 0; tries < 100; ++tries) {
                  nccl->check();
                  std::this_thread::sleep_for(std::chrono::milliseconds(20));
                }
              }),
              "rank " + std::to_string(ranks - 1) + ": disk full");
  });
}

TEST_F(CommunicatorCudaTest, TwoNcclRanksOnOneGpuAreRefused) {
  if (const std::string why = no_nccl(); !why.empty()) GTEST_SKIP() << why;
  on_gpus(2, Gpu::shared, [](Communicator& comm, Backend&) {
    EXPECT_TRUE(
        says(error_of([&] { cuda_backend().communicator(comm); }), {"ranks 0 and 1", "same GPU", "--comm local"}));
  });
}

/// Records an all-reduce and replays it: each replay multiplies equal values by the number of ranks.
void replay(Communicator& comm, Backend& backend) {
  ASSERT_TRUE(comm.capturable());
  const auto stream = backend.compute_stream();
  Buffer data(backend, std::vector<float>(1000, 1));
  comm.all_reduce(data.floats(), 1000, *stream);  // the first call may connect the ranks
  stream->synchronize();
  const auto before = data.read();
  data.write(std::vector<float>(1000, 1));
  {
    const auto again = backend.capture(*stream, [&] { comm.all_reduce(data.floats(), 1000, *stream); });
    for (int i = 0; i < 3; ++i) {
      again();
      comm.watch(*stream);
    }
    stream->synchronize();
  }
  comm.check();
  EXPECT_EQ(data.read()[999], before[0] * before[0] * before[0]);
}

TEST_F(CommunicatorCudaTest, OneLocalRankIsRecordedAndReplayed) { on_gpus(1, Gpu::shared, replay); }

TEST_F(CommunicatorCudaTest, NcclIsRecordedAndReplayed) {
  if (const std::string why = no_nccl(); !why.empty()) GTEST_SKIP() << why;
  NcclRanks::run(replay);
}

}  // namespace
}  // namespace lockstep::testing
