#include "launch/estimate/step_estimate.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/error.h"
#include "launch/data/feed/feed.h"
#include "launch/data/readers/synthetic.h"
#include "launch/train/device.h"
#include "launch/train/trainer.h"
#include "parallel/collectives/pass.h"
#include "parallel/comm/forwarding.h"
#include "parallel/comm/gather.h"
#include "parallel/mesh/stages.h"
#include "parallel/placement/traffic.h"

namespace lockstep {

namespace {

/// Exchanges nothing, so that a rank's own work can be timed: what it computes with is not what it would be sent.
class SilentComm final : public ForwardingComm {
 public:
  using ForwardingComm::ForwardingComm;
  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<SilentComm>(inner_.split(color, key));
  }
  void exchange(std::span<const Message>, Stream&) override {}
  void all_reduce(float*, size_t, Stream&) override {}
  void reduce_scatter(const float*, float*, size_t, Stream&) override {}
  void all_gather(const std::byte*, std::byte*, size_t, Stream&) override {}
  void all_to_all(const std::byte*, std::byte*, size_t, Stream&) override {}
  void broadcast(std::byte*, size_t, int, Stream&) override {}
};

/// Generated images, with targets that the loss takes: class 0, or zeros.
class MadeUp final : public Dataset {
 public:
  MadeUp(const Network& network, const StepOptions& step)
      : target_(step.loss.target(network.output_shape())), classes_(network.output_shape()[-1]) {
    const Shape image = network.input_shape();
    images_ = open_synthetic(fmt::format("{}x{}x{}/{}/{}", image[0], image[1], image[2], classes_, step.batch)).train;
  }
  int64_t size() const override { return images_->size(); }
  Shape image_shape() const override { return images_->image_shape(); }
  int classes() const override { return static_cast<int>(classes_); }
  Type target() const override { return target_; }
  void read_target(int64_t, std::span<std::byte> target) const override { std::ranges::fill(target, std::byte{0}); }
  int32_t read(int64_t index, std::span<float> image) const override { return images_->read(index, image); }
  std::string content_sha256() const override { return images_->content_sha256(); }

 private:
  Type target_;
  int64_t classes_;
  std::shared_ptr<const Dataset> images_;
};

using Clock = std::chrono::steady_clock;

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// What a rank's plan sends in a step, and what that takes.
struct PlannedTraffic {
  size_t sent = 0;
  double to_next = 0, to_previous = 0;  // seconds, over all lanes, to other stages of a pipeline
  double others = 0;                    // seconds
};

PlannedTraffic traffic_of(const StepPlan& plan, const Mesh& mesh, Numerics numerics, const Link& link) {
  PlannedTraffic traffic;
  for (const Collective& one : collectives(plan, mesh, numerics)) {
    traffic.sent += one.bytes;
    double& seconds = one.kind == to_later_stage     ? traffic.to_next
                      : one.kind == to_earlier_stage ? traffic.to_previous
                                                     : traffic.others;
    seconds += link.seconds(one.times, one.bytes);
  }
  return traffic;
}

/// What one rank has measured and planned.
struct RankTimes {
  int stage = 0, lanes = 1;
  std::vector<double> seconds;  // of a step, by repetition
  PlannedTraffic traffic;
  size_t memory = 0;
};

/// Seconds of one of so many steps, each of which begins when all of `comm` have ended the one before, where there is a
/// `comm`.
double run_steps(Trainer& trainer, const Batch& batch, int steps, Communicator* comm) {
  const auto begin = Clock::now();
  for (int i = 0; i < steps; ++i) {
    trainer.start(batch, 0);
    try {
      trainer.wait();
    } catch (const Error&) {
      // A loss of numbers that nobody has sent need not be finite.
    }
    if (comm) meet(*comm);
  }
  return std::chrono::duration<double>(Clock::now() - begin).count() / steps;
}

/// Times steps on all ranks at once, as they would be in a run, or on `together` of them, each as fast as it can, and
/// the others after them. All ranks call.
void time_steps(RankTimes& times, Trainer& trainer, const Batch& batch, Communicator& comm, int together) {
  // Short steps are timed many in a row.
  constexpr double long_enough = 0.02, patience = 1;
  run_steps(trainer, batch, 1, &comm);
  const double step = std::ranges::max(gather(comm, run_steps(trainer, batch, 1, &comm)));
  const int steps = static_cast<int>(std::clamp(long_enough / step, 1.0, 100.0));
  const int repetitions = std::clamp(static_cast<int>(patience / (step * steps)), 3, 7);
  for (int i = 0; i < repetitions; ++i) {
    if (together == 0) {
      times.seconds.push_back(run_steps(trainer, batch, steps, &comm));
      continue;
    }
    for (int first = 0; first < comm.size(); first += together) {
      meet(comm);
      if (comm.rank() >= first && comm.rank() < first + together)
        times.seconds.push_back(run_steps(trainer, batch, steps, nullptr));
    }
  }
}

/// The slowest of each stage's ranks, and how the stages wait for each other when `at_once` of them can work.
void estimate_pipeline(StepEstimate& estimate, std::span<const RankTimes> ranks, const Strategy& strategy,
                       double at_once) {
  std::vector<StageCost> silent(static_cast<size_t>(strategy.stages())), sending = silent;
  for (const RankTimes& rank : ranks) {
    const auto s = static_cast<size_t>(rank.stage);
    const double own = median(rank.seconds), lanes = rank.lanes;
    estimate.compute = std::max(estimate.compute, own);
    silent[s].work = sending[s].work = std::max(silent[s].work, own / (3 * lanes));
    sending[s].to_next = std::max(sending[s].to_next, rank.traffic.to_next / lanes);
    sending[s].to_previous = std::max(sending[s].to_previous, rank.traffic.to_previous / lanes);
  }
  const double alone = makespan(strategy.schedule, silent, ranks[0].lanes, at_once);
  estimate.waiting = alone - estimate.compute;
  estimate.communication += makespan(strategy.schedule, sending, ranks[0].lanes, at_once) - alone;
}

}  // namespace

StepEstimate estimate_step(Runtime& runtime, const Network& network, const StepOptions& step,
                           const Optimizer& optimizer, int ranks, int threads, const Link& link) {
  if (runtime.distributed())
    throw InputError("an estimate times ranks as threads of one process: start it without mpirun, with --ranks {}",
                     ranks);
  const auto data = std::make_shared<MadeUp>(network, step);
  const int stages = step.strategy.stages();
  // Ranks of a pipeline have turns of their own: those that would have to share cores are timed one after the other.
  const int together = stages == 1 ? 0 : std::max(1, runtime.cores() / threads);
  std::vector<RankTimes> all(static_cast<size_t>(ranks));
  runtime.run(ranks, [&](RankContext& rank) {
    SilentComm comm(rank.comm);
    const auto device = make_device({.backend = BackendChoice::cpu, .threads = threads, .step = step}, rank, false);
    Trainer trainer(network, {.step = step, .optimizer = optimizer}, comm, *device.backend, device.kernels);
    const Mesh& mesh = trainer.mesh();
    const int lanes = step.numerics == Numerics::fast ? mesh.data_ranks() : step.lanes;
    const int own = lanes / mesh.data_ranks();
    BatchFeed feed(data, {.batch = step.batch,
                          .lanes = lanes,
                          .first_lane = int64_t{own} * mesh.data_rank(),
                          .lane_count = own,
                          .steps = 1});
    RankTimes& times = all[static_cast<size_t>(rank.comm.rank())];
    times.stage = mesh.stage();
    times.lanes = own;
    time_steps(times, trainer, feed.next(), rank.comm, together);
    const StepPlan& plan = trainer.training_plan();
    times.traffic = traffic_of(plan, mesh, step.numerics, link);
    times.memory = Executor::bytes(plan) + trainer.variables().memory().bytes();
  });
  StepEstimate estimate;
  for (const RankTimes& rank : all) {
    estimate.sent = std::max(estimate.sent, rank.traffic.sent);
    estimate.memory = std::max(estimate.memory, rank.memory);
    estimate.communication = std::max(estimate.communication, rank.traffic.others);
  }
  const double at_once = static_cast<double>(runtime.cores()) * stages / threads / ranks;
  if (stages > 1)
    estimate_pipeline(estimate, all, step.strategy, at_once);
  else
    estimate.compute = median(all[0].seconds);
  return estimate;
}

}  // namespace lockstep
