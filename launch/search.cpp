#include "launch/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "core/error.h"
#include "launch/data/synthetic.h"
#include "launch/device.h"
#include "launch/topology.h"
#include "launch/trainer.h"
#include "parallel/comm/local.h"
#include "parallel/traffic.h"

namespace lockstep {

namespace {

/// Exchanges nothing, so that a rank's own work can be timed: what it computes with is not what it would be sent.
class SilentComm final : public Communicator {
 public:
  explicit SilentComm(Communicator& inner) : inner_(inner) {}
  explicit SilentComm(std::unique_ptr<Communicator> inner) : owned_(std::move(inner)), inner_(*owned_) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  std::string_view kind() const override { return inner_.kind(); }
  bool capturable() const override { return inner_.capturable(); }
  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<SilentComm>(inner_.split(color, key));
  }
  void exchange(std::span<const Message>, Stream&) override {}
  void all_reduce(float*, size_t, Stream&) override {}
  void reduce_scatter(const float*, float*, size_t, Stream&) override {}
  void all_gather(const std::byte*, std::byte*, size_t, Stream&) override {}
  void all_to_all(const std::byte*, std::byte*, size_t, Stream&) override {}
  void broadcast(std::byte*, size_t, int, Stream&) override {}
  void abort(std::string_view why) noexcept override { inner_.abort(why); }

 private:
  std::unique_ptr<Communicator> owned_;
  Communicator& inner_;
};

/// Seconds of a step, the median of three behind a first.
double time_steps(Trainer& trainer, const Batch& batch) {
  std::array<double, 4> seconds{};
  for (double& one : seconds) {
    const auto start = std::chrono::steady_clock::now();
    trainer.start(batch, 0);
    try {
      trainer.wait();
    } catch (const Error&) {
      // A loss of numbers that nobody has sent need not be finite.
    }
    one = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  std::sort(seconds.begin() + 1, seconds.end());
  return seconds[2];
}

void measure(Candidate& candidate, Runtime& runtime, const Network& network, StepOptions step,
             const Optimizer& optimizer, int ranks, int threads, const Link& link) {
  const bool shards = step.strategy.shard_optimizer;
  step.strategy = parse_strategy(candidate.strategy);
  step.strategy.shard_optimizer = shards;
  check_batch(step, ranks);
  const Shape image = network.input_shape();
  const auto data = open_synthetic(
      fmt::format("{}x{}x{}/{}/{}", image[0], image[1], image[2], network.output_shape()[0], step.batch));
  std::vector<double> seconds(static_cast<size_t>(ranks));
  runtime.run(ranks, [&](RankContext& rank) {
    SilentComm comm(rank.comm);
    const auto backend = make_device({.backend = BackendChoice::cpu, .threads = threads, .step = step}, rank, false);
    Trainer trainer(network, {.step = step, .optimizer = optimizer}, comm, *backend.backend, backend.kernels);
    const int lanes = step.numerics == Numerics::fast ? trainer.mesh().data_ranks() : step.lanes;
    const int own = lanes / trainer.mesh().data_ranks();
    BatchFeed feed(data.train, {.batch = step.batch,
                                .lanes = lanes,
                                .first_lane = int64_t{own} * trainer.mesh().data_rank(),
                                .lane_count = own,
                                .steps = 1});
    seconds[static_cast<size_t>(rank.comm.rank())] = time_steps(trainer, feed.next());
    if (rank.comm.rank() != 0) return;
    const StepPlan& plan = trainer.training_plan();
    for (const Collective& one : collectives(plan, trainer.mesh(), step.numerics == Numerics::reproducible)) {
      candidate.sent += one.bytes;
      candidate.communication +=
          static_cast<double>(one.times) * link.latency + static_cast<double>(one.bytes) / link.bandwidth;
    }
    candidate.memory = Executor::bytes(plan) + trainer.variables().memory().bytes();
  });
  candidate.compute = std::ranges::max(seconds);
}

/// All ways to write `ranks` as a product over the axes from `axis` on, appended to `text`.
void factorise(size_t axis, int ranks, const std::string& text, std::vector<std::string>& all) {
  static const std::array<std::string, 5> axes{"data", "space_h", "space_w", "filter", "channel"};
  if (axis == axes.size()) {
    if (ranks == 1) all.push_back(text.empty() ? "data=1" : text.substr(1));
    return;
  }
  for (int size = 1; size <= ranks; ++size)
    if (ranks % size == 0)
      factorise(axis + 1, ranks / size, size == 1 ? text : fmt::format("{},{}={}", text, axes[axis], size), all);
}

}  // namespace

Link measure_link(Runtime& runtime) {
  Link link;
  runtime.run(2, [&](RankContext& rank) {
    const auto reports = survey(rank);
    if (rank.comm.rank() == 0 && !reports[0].pairs.empty())
      link = {reports[0].pairs[0].latency, reports[0].pairs[0].bandwidth};
  });
  return link;
}

std::vector<Candidate> search_strategies(Runtime& runtime, const Network& network, const StepOptions& step,
                                         const Optimizer& optimizer, int ranks, int threads, const Link& link) {
  if (runtime.distributed())
    throw InputError("the search times ranks as threads of one process: start it without mpirun, with --ranks {}",
                     ranks);
  std::vector<std::string> texts;
  factorise(0, ranks, "", texts);
  std::vector<Candidate> all;
  for (const std::string& text : texts) {
    Candidate candidate{.strategy = text};
    try {
      measure(candidate, runtime, network, step, optimizer, ranks, threads, link);
    } catch (const InputError& error) {
      candidate.refusal = error.what();
    }
    all.push_back(std::move(candidate));
  }
  std::ranges::stable_sort(all, {}, [](const Candidate& c) { return std::pair(!c.refusal.empty(), c.seconds()); });
  return all;
}

std::string describe(const std::vector<Candidate>& candidates, const Link& link) {
  std::string text = fmt::format(
      "between ranks: {:.1f} us, {:.2f} GB/s (measured); times are of a step\n{:<34} {:>10} {:>10} {:>10} {:>12} "
      "{:>12}\n",
      1e6 * link.latency, 1e-9 * link.bandwidth, "strategy", "predicted", "compute", "sending", "sent", "memory");
  for (const Candidate& c : candidates)
    text += c.refusal.empty()
                ? fmt::format("{:<34} {:>7.1f} ms {:>7.1f} ms {:>7.1f} ms {:>8.2f} MiB {:>8.1f} MiB\n", c.strategy,
                              1e3 * c.seconds(), 1e3 * c.compute, 1e3 * c.communication,
                              static_cast<double>(c.sent) / 0x1p20, static_cast<double>(c.memory) / 0x1p20)
                : fmt::format("{:<34} refused: {}\n", c.strategy, c.refusal);
  return text;
}

}  // namespace lockstep
