// Whole training steps of several ranks, recorded on the emulated device and replayed: what a capture must not do is
// refused there, and an edge that is missing shows when the graph's nodes run in another order.
#include "core/cuda/cuda.h"
#include "launch/data/feed/feed.h"
#include "launch/train/trainer.h"
#include "layers/cuda/kernels.h"
#include "tests/emulator/emulator.h"
#include "tests/launch/plan/model_parallel.h"
#include "tests/parallel/recorded_comm.h"
#include "tests/support/watchdog.h"

namespace lockstep::test {
namespace {

using emulator::Order;

struct Replayed {
  std::vector<float> losses;
  std::vector<int> calls;  // of communicators, that each step's host has made
  std::string sha256;
};

Replayed train_rank(const Network& network, const StepOptions& step, bool replay, Communicator& local) {
  const auto backend = make_cuda_backend(0);
  const KernelTable kernels = cuda_kernels(*backend, {}, std::make_shared<EngineChoices>());
  RecordedRank rank(local, *backend);
  Replayed result;
  {
    Trainer trainer(network,
                    {.step = step, .optimizer = SGD{.lr = 0.05F, .momentum = 0.9F}, .seed = 5, .replay = replay},
                    *rank.comm, *backend, kernels, &local);
    const int own = step.lanes / trainer.mesh().data_ranks();
    const int64_t steps = 4;
    BatchFeed feed(std::make_shared<Noise>(network.input_shape(), 10, step.batch * 2 - 1),
                   {.batch = step.batch,
                    .lanes = step.lanes,
                    .first_lane = int64_t{own} * trainer.mesh().data_rank(),
                    .lane_count = own,
                    .seed = 5,
                    .steps = steps});
    for (int64_t i = 0; i < steps; ++i) {
      const int before = rank.calls;
      result.losses.push_back(trainer.train(feed.next(), 0.05F).loss);
      result.calls.push_back(rank.calls - before);
    }
    result.sha256 = trainer.variables().sha256();
  }
  return result;
}

std::vector<Replayed> train_ranks(const Network& network, const StepOptions& step, bool replay, int ranks) {
  const auto comms = make_local(ranks);
  std::vector<Replayed> all(comms.size());
  std::vector<std::thread> threads;
  for (size_t r = 0; r < comms.size(); ++r)
    threads.emplace_back([&, r] {
      try {
        all[r] = train_rank(network, step, replay, *comms[r]);
      } catch (const std::exception& error) {
        ADD_FAILURE() << "rank " << r << ": " << error.what();
        comms[r]->abort(error.what());
      }
    });
  for (std::thread& thread : threads) thread.join();
  return all;
}

class Recorded : public ::testing::TestWithParam<Order> {
 protected:
  Recorded() { emulator::set_order(GetParam()); }
  ~Recorded() override {
    emulator::forget_failure();
    emulator::set_order(Order::ascending);
  }
  testing::Watchdog watchdog_{"recorded steps", std::chrono::seconds(120)};
};
INSTANTIATE_TEST_SUITE_P(Orders, Recorded, ::testing::Values(Order::ascending, Order::reverse),
                         [](const auto& one) { return one.param == Order::reverse ? "reverse" : "ascending"; });

TEST_P(Recorded, StepsOfEveryStrategyHaveTheBitsOfThoseThatAreEnqueued) {
  const Network network = small();
  for (const auto& [strategy, ranks] : {std::pair{"data=2", 2},
                                        {"space_h=2", 2},
                                        {"space_h=2,space_w=2", 4},
                                        {"filter=2", 2},
                                        {"channel=2", 2},
                                        {"data=2,space_h=2", 4}}) {
    StepOptions step{.batch = 8, .lanes = 4, .strategy = parse_strategy(strategy)};
    for (const bool shards : {false, true}) {
      if (shards && step.strategy.mesh.size() > 1) continue;
      step.strategy.shard_optimizer = shards;
      const auto enqueued = train_ranks(network, step, false, ranks);
      const auto replayed = train_ranks(network, step, true, ranks);
      for (size_t r = 0; r < replayed.size() && !HasFailure(); ++r) {
        EXPECT_EQ(replayed[r].sha256, enqueued[r].sha256) << strategy << " rank " << r;
        EXPECT_EQ(replayed[r].losses, enqueued[r].losses) << strategy << " rank " << r;
        EXPECT_GT(enqueued[r].calls[3], 0) << strategy << " rank " << r;
        EXPECT_GT(replayed[r].calls[1], 0) << strategy << " rank " << r << ": the step that is recorded";
        EXPECT_EQ(replayed[r].calls[3], 0) << strategy << " rank " << r << ": a replay";
      }
    }
  }
}

}  // namespace
}  // namespace lockstep::test
