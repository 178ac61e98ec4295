// What ranks send in a training step, beside what was planned.
#pragma once

#include "launch/data/feed/feed.h"
#include "launch/train/trainer.h"
#include "layers/cpu/kernels.h"
#include "parallel/placement/traffic.h"
#include "tests/launch/plan/model_parallel.h"
#include "tests/parallel/watched_comm.h"

namespace lockstep::test {

/// The collectives of each rank's plan; fails where a rank has sent something else in its second step.
inline std::vector<std::vector<Collective>> watch_step(const Network& network, const StepOptions& step, int ranks) {
  auto comms = make_local(ranks);
  std::vector<std::vector<Collective>> planned(comms.size());
  std::vector<std::thread> threads;
  for (size_t r = 0; r < comms.size(); ++r)
    threads.emplace_back([&, r] {
      Traffic traffic;
      WatchedComm comm(*comms[r], traffic);
      const auto backend = make_cpu_backend(1);
      Trainer trainer(network, {.step = step}, comm, *backend, cpu_kernels());
      const int own = step.lanes / trainer.mesh().data_ranks();
      BatchFeed feed(std::make_shared<Noise>(network.input_shape(), 10, 4 * step.batch),
                     {.batch = step.batch,
                      .lanes = step.lanes,
                      .first_lane = int64_t{own} * trainer.mesh().data_rank(),
                      .lane_count = own,
                      .steps = 2});
      trainer.train(feed.next(), 0.1F);
      const size_t before = traffic.sent;
      trainer.train(feed.next(), 0.1F);
      planned[r] = collectives(trainer.training_plan(), trainer.mesh(), Numerics::reproducible);
      size_t bytes = 0;
      for (const Collective& one : planned[r]) bytes += one.bytes;
      EXPECT_EQ(traffic.sent - before, bytes) << "rank " << r;
    });
  for (std::thread& thread : threads) thread.join();
  return planned;
}

/// A line each: node, axes, kind and bytes.
inline std::vector<std::string> told(const std::vector<Collective>& all) {
  std::vector<std::string> lines;
  for (const Collective& one : all)
    lines.push_back(fmt::format("{} over {}: {} {}", one.node, fmt::join(one.axes, " and "), one.kind, one.bytes));
  return lines;
}

}  // namespace lockstep::test
